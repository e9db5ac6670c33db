"""
Where are the knots of a KAN, and what do they carry?
=====================================================

Every edge of a Kolmogorov-Arnold network is a curve made of B-splines on a grid of
knots that follows the data. Which functions does a grid carry, how do they add up to
the curve of an edge, and what does ``grid_eps`` do to the knots?
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.interpolate import BSpline
from torch.nn import functional

from skkan import BSplineBasis, KANLayer, extend_grid, grid_from_samples

GRID_SIZE = 5  # intervals, G
SPLINE_ORDER = 3  # polynomial degree, k: 3 is cubic

# %%
# A grid of G intervals on [-1, 1] is extended by k steps on both sides: G + 2k + 1 = 12
# knots carry G + k = 8 splines. Beyond the grid every function keeps its last value, or
# its last slope with ``extrapolation="linear"``.

grid = torch.linspace(-1, 1, GRID_SIZE + 1, dtype=torch.float64)[None]
splines = BSplineBasis(grid, SPLINE_ORDER)
x = torch.linspace(-1.6, 1.6, 641, dtype=torch.float64)[:, None]
spline_values = splines(x)[:, 0]
print("knots of the extended grid:", np.round(splines.knots[0].numpy(), 4))
print(f"largest |sum of the splines - 1|: {(spline_values.sum(1) - 1).abs().max():.1e}")

# %%
# The curve of an edge is phi(x) = scale_base b(x) + scale_spline sum_m c_m B_m(x) with
# b(x) = silu(x). A layer stores scale_spline c_m and scale_base in one weight, and must
# agree with the formula written out with the splines of scipy.

SCALE_BASE, SCALE_SPLINE = 0.8, 1.5
generator = torch.Generator().manual_seed(0)
coef = 0.5 * torch.randn(splines.n_splines, generator=generator, dtype=torch.float64)
weight = torch.cat([SCALE_SPLINE * coef, coef.new_tensor([SCALE_BASE])])[None, None]


def edge(extrapolation):
    """A layer of a single edge."""
    basis = BSplineBasis(
        grid, SPLINE_ORDER, base_activation="silu", extrapolation=extrapolation
    )
    return KANLayer(basis, weight)


inside = x[(x.abs() <= 1).all(dim=1)]
base_part = SCALE_BASE * functional.silu(inside[:, 0]).numpy()
spline = BSpline(splines.knots[0].numpy(), coef.numpy(), SPLINE_ORDER)
spline_part = SCALE_SPLINE * spline(inside[:, 0].numpy())
phi = edge("constant")(inside)[:, 0].detach().numpy()
difference = np.abs(phi - (base_part + spline_part)).max()
print(f"largest difference between phi and its formula: {difference:.1e}")

# %%
# A grid is laid through samples: ``grid_eps=1`` divides their range evenly, 0 puts
# equally many samples into every interval, and what is between mixes the two. The
# normal sample is the one of the KAN authors' documentation, whose generator had drawn
# seven numbers before.

generator = torch.Generator().manual_seed(1)
torch.rand(7, generator=generator)
samples = {
    "1001 even samples on [-10, 10]": torch.linspace(-10, 10, 1001)[:, None],
    "1001 even samples on [-0.5, 0.5]": torch.linspace(-0.5, 0.5, 1001)[:, None],
    "1000 normal samples": torch.randn(1000, 1, generator=generator),
}
shares = (1.0, 0.5, 0.0)
knots = {
    (name, grid_eps): extend_grid(
        grid_from_samples(sample.double(), GRID_SIZE, grid_eps=grid_eps), SPLINE_ORDER
    )[0].numpy()
    for name, sample in samples.items()
    for grid_eps in shares
}
for name in samples:
    print(name)
    for grid_eps in shares:
        figures = " ".join(f"{knot:8.4f}" for knot in knots[name, grid_eps])
        print(f"    grid_eps={grid_eps:.1f} {figures}")

# %%
# The figure: the splines, an edge, and the knots under the histogram of the samples.
# Knots that extend a grid are grey.


def draw_knots(ax, extended, height, color):
    """Draw the knots of a grid as ticks at a height, its extension in grey."""
    level = np.full(len(extended), height)
    ax.plot(extended, level, "|", color="0.65", markersize=9)
    inner = slice(SPLINE_ORDER, -SPLINE_ORDER)
    ax.plot(extended[inner], level[inner], "|", color=color, markersize=13, mew=2)


names = list(samples)
fig, axes = plt.subplot_mosaic(
    [["splines"] * 3 + ["edge"] * 3, [name for name in names for _ in range(2)]],
    figsize=(11, 7.5),
    layout="constrained",
)

ax = axes["splines"]
ax.axvspan(-1, 1, color="0.94")
colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, splines.n_splines))
for values, color in zip(spline_values.T, colors, strict=True):
    ax.plot(x, values, color=color)
draw_knots(ax, splines.knots[0], -0.06, "black")
ax.set(
    title="8 cubic splines on 12 knots, and their continuation",
    xlabel="x",
    ylabel="$B_m(x)$",
)

ax = axes["edge"]
ax.axvspan(-1, 1, color="0.94")
for extrapolation, style in {"constant": "k-", "linear": "k--"}.items():
    curve = edge(extrapolation)(x).detach()
    ax.plot(x, curve, style, label=f"$\\phi(x)$, {extrapolation} outside of the grid")
ax.plot(inside, base_part, "C0", label="scale_base silu(x)")
ax.plot(inside, spline_part, "C1", label=r"scale_spline $\sum_m c_m B_m(x)$")
ax.set(title="An edge: its base function plus its splines", xlabel="x", ylabel="value")
ax.set_ylim(top=3.6)  # room for the legend
ax.legend(loc="upper center", ncols=2, fontsize="small")

for name, sample in samples.items():
    ax = axes[name]
    counts, *_ = ax.hist(sample.ravel(), bins=20, color="0.8")
    heights = [-counts.max() * (0.12 + 0.14 * row) for row in range(len(shares))]
    for row, (grid_eps, height) in enumerate(zip(shares, heights, strict=True)):
        ax.axhline(height, color="0.9", linewidth=0.8, zorder=0)
        draw_knots(ax, knots[name, grid_eps], height, f"C{row}")
    ax.set(title=name, xlabel="sample")
    ax.set_yticks(heights, [f"grid_eps={grid_eps:g}" for grid_eps in shares])
    ax.label_outer()
plt.show()

# %%
# On even samples all three grids are the same; on normal ones a small ``grid_eps``
# moves the knots to where the samples are.
