"""
What is left of a wide network when it is pruned, and what does that cost?
==========================================================================

A network is made wider than its problem, and a table holds more columns than its law,
as nobody knows better beforehand. How many edges, nodes and features does the law
need, and does the error rise when the others go?
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

from skkan import KANRegressor
from skkan.inspection import edge_functions, prune

# %%
# A law of three features in a table of eight, with noise of deviation 0.1. The error is
# taken against the law without noise, on rows of their own.

N_FEATURES = 8


def law(X):
    """Two curves that add up inside of a third one."""
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2) + 0.5 * X[:, 2]


rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, size=(300, N_FEATURES))
y = law(X) + 0.1 * rng.normal(size=len(X))
X_test = rng.uniform(-1, 1, size=(4000, N_FEATURES))


def error(model):
    """Root mean squared distance from the law."""
    return np.sqrt(np.mean((model.predict(X_test) - law(X_test)) ** 2))


# %%
# The wide network, and what is left of it: at three thresholds on the share of the
# output's variance that is lost without an edge, and by the evidence, which needs no
# threshold.

models = {"not pruned": KANRegressor((3,), random_state=0).fit(X, y)}
for threshold in (0.003, 0.03, 0.3, "auto"):
    models[threshold] = prune(models["not pruned"], X, y, threshold=threshold)

print(
    f"{'threshold':<12} {'features':>8} {'nodes':>6} {'edges':>6} {'error':>7}", end=""
)
print(f" {'predict [ms]':>13}")
for name, model in models.items():
    network = model.network_
    start = perf_counter()
    model.predict(X_test)
    seconds = perf_counter() - start
    print(
        f"{name:<12} {network.widths[0]:8} {network.widths[1]:6} "
        f"{network.n_edges:6} {error(model):7.4f} {1000 * seconds:13.1f}"
    )

# %%
# The figure: how important each edge is before, and the error against the number of
# edges that are left.

fig, (ax_scores, ax_error) = plt.subplots(
    1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained"
)
scores = sorted(edge.importance for edge in edge_functions(models["not pruned"]))
ax_scores.bar(np.arange(len(scores)), np.maximum(scores, 1e-6)[::-1], color="C0")
for threshold in (0.003, 0.03, 0.3):
    ax_scores.axhline(threshold, color="0.5", linewidth=0.8)
    ax_scores.annotate(
        f"threshold {threshold}", (len(scores), threshold), ha="right", va="bottom"
    )
ax_scores.set(
    title="The wide network",
    xlabel="edge, by importance",
    ylabel="importance (share of the variance)",
    yscale="log",
)

for name, model in models.items():
    ax_error.plot(model.network_.n_edges, error(model), "o", label=f"{name}")
ax_error.set(
    title="What is left",
    xlabel="edges",
    ylabel="error against the law",
    ylim=(0, None),
)
ax_error.legend(title="threshold")
plt.show()

# %%
# A threshold of 0.03 leaves the three features of the law and a quarter of the edges,
# and the error falls; at 0.3 two of the three are lost. The evidence leaves what the
# threshold of 0.03 does.
