"""What the README shows: draws docs/effects.svg and prints the lines that depend on it.

python docs/readme.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.collections import QuadMesh
from sklearn.datasets import make_friedman1

from skkan import KANRegressor
from skkan.inspection import EffectDisplay
from skkan.symbolic import fit_symbolic, to_sympy

FIGURE = Path(__file__).with_name("effects.svg")
MAX_EFFECTS = 6


def drawn_effects():
    """The figure of the README, an EffectDisplay of a default fit."""
    X, y = make_friedman1(500, noise=1.0, random_state=0)
    model = KANRegressor(random_state=0).fit(X, y)
    return EffectDisplay.from_estimator(model, X, max_effects=MAX_EFFECTS)


def titles(display):
    """Titles of the panels: features and shares."""
    return [ax.get_title() for ax in display.axes_]


def caption(display):
    """The text that stands for the figure where it cannot be seen."""
    return "Effects on y, by share of the variance: " + ", ".join(titles(display))


def written_law():
    """The formula of the README."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(1000, 2))
    y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2) + 0.05 * rng.normal(size=1000)
    network = KANRegressor((1,), random_state=0).fit(X, y)
    return str(to_sympy(fit_symbolic(network, X, y), round_to=3))


def main():
    """Draw the figure and print what the README has to say of it."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "skkan"  # the same file from the same network
    display = drawn_effects()
    for ax in display.axes_:  # heat maps as pictures, for a smaller file
        for mesh in ax.findobj(QuadMesh):
            mesh.set_rasterized(True)
    display.figure_.savefig(
        FIGURE, bbox_inches="tight", facecolor="white", metadata={"Date": None}
    )
    print("caption:", caption(display))
    print("formula:", written_law())


if __name__ == "__main__":
    main()
