"""What the README shows: draws docs/network.svg and prints the formula.

python docs/readme.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.datasets import make_friedman1

from skkan import KANRegressor
from skkan.inspection import KANDisplay
from skkan.symbolic import fit_symbolic, to_sympy

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "skkan"  # the same file from the same network

X, y = make_friedman1(500, noise=1.0, random_state=0)
model = KANRegressor((2,), prune_threshold="auto", random_state=0).fit(X, y)
figure = KANDisplay.from_estimator(model).figure_
figure.savefig(
    Path(__file__).with_name("network.svg"),
    bbox_inches="tight",
    facecolor="white",
    metadata={"Date": None},
)

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, size=(1000, 2))
y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2) + 0.05 * rng.normal(size=1000)
network = KANRegressor((1,), random_state=0).fit(X, y)
print(to_sympy(fit_symbolic(network, X, y), round_to=3))
