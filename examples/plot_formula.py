"""
Which law is behind noisy data?
===============================

A network that was fitted to noisy measurements predicts well, but says nothing. Can the
law be read off its curves, and is the law closer to the truth than the network is?
"""

import matplotlib.pyplot as plt
import numpy as np

from skkan import KANRegressor
from skkan.inspection import edge_functions
from skkan.symbolic import fit_symbolic, to_latex, to_sympy

NOISE = 0.1  # of the deviation of the target

# %%
# 500 measurements of exp(sin(pi x0) + x1^2), a tenth of whose deviation is noise. All
# that the network is told is that there is one hidden node.

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (500, 2))


def law(X):
    """The truth."""
    return np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)


y = law(X) + NOISE * law(X).std() * rng.normal(size=len(X))
network = KANRegressor((1,), random_state=0).fit(X, y)

# %%
# Each of the three curves could be one of many functions. Looked at alone, some of them
# can hardly be told apart.

model = fit_symbolic(network, X, y)
for edge in model.edges_:
    best = ", ".join(
        f"{candidate.term.primitive.name} ({candidate.r2:.4f})"
        for candidate in edge.candidates[:4]
    )
    print(f"{edge.source_name} -> {edge.target_name}: {best}")

# %%
# Together they can: combinations are fitted to the data, and that which takes fewest
# words to describe formula and errors is kept. Constants that the data cannot tell from
# round ones are round.

print("found:", to_sympy(model, round_to=3))
print("functions:", [edge.primitive.name for edge in model.edges_])

# %%
# Errors against the truth on new rows, relative to its deviation.

X_new = rng.uniform(-1, 1, (2000, 2))
errors = {
    name: np.sqrt(np.mean((fitted.predict(X_new) - law(X_new)) ** 2)) / law(X_new).std()
    for name, fitted in {"network": network, "formula": model}.items()
}
for name, error in errors.items():
    print(f"error of the {name}: {error:.4f}")

# %%
# The figure: the curves of the network with what was made of them, and predictions.

fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
for ax, curve, edge in zip(
    axes.flat, edge_functions(network), model.edges_, strict=False
):
    x = np.linspace(curve.low, curve.high, 200)
    (proposal,) = (
        candidate.term
        for candidate in edge.candidates
        if candidate.term.primitive is edge.primitive
    )
    values = proposal.c * edge.primitive.function(proposal.a * x + proposal.b)
    ax.plot(x, curve(x), "C0", linewidth=5, alpha=0.4, label="network")
    ax.plot(x, values + proposal.d, "k--", label=edge.primitive.name)
    ax.set(xlabel=edge.source_name, ylabel=f"part of {edge.target_name}")
    ax.legend()

ax = axes[1, 1]
for name, color in {"network": "C0", "formula": "k"}.items():
    fitted = network if name == "network" else model
    off = np.abs(fitted.predict(X_new) - law(X_new))
    ax.plot(law(X_new), off, ".", color=color, markersize=2, label=name)
ax.set(yscale="log", xlabel="truth", ylabel="absolute error")
ax.legend(markerscale=5)
fig.suptitle(f"${to_latex(model, round_to=3)}$")
plt.show()

# %%
# The law comes out with the three right functions, and is closer to the truth than the
# network from which it was read, since it has fewer constants for the noise to bend.
