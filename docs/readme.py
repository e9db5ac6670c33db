"""What the README shows: draws docs/network.svg and prints the lines that depend on it.

python docs/readme.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from sklearn.datasets import make_friedman1

from skkan import KANRegressor
from skkan.inspection import KANDisplay
from skkan.symbolic import fit_symbolic, to_sympy

FIGURE = Path(__file__).with_name("network.svg")
MATTER = {"x0", "x1", "x2", "x3", "x4"}  # of the ten features


def drawn_network():
    """The figure of the README, a KANDisplay."""
    X, y = make_friedman1(500, noise=1.0, random_state=0)
    model = KANRegressor((2,), prune_threshold="auto", random_state=0).fit(X, y)
    return KANDisplay.from_estimator(model)


def drawn_inputs(display):
    """Names of the features in the figure."""
    return [
        name.get_text() for (level, _), name in display.names_.items() if level == 0
    ]


def caption(display):
    """The text that stands for the figure where it cannot be seen."""
    n_sums = len(display.sums_) - 1  # that of the target is none to go through
    return (
        f"Network of curves from {len(drawn_inputs(display))} features through "
        f"{n_sums} sums to the target"
    )


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
    display = drawn_network()
    display.figure_.savefig(
        FIGURE, bbox_inches="tight", facecolor="white", metadata={"Date": None}
    )
    print("caption:", caption(display))
    print("note:", display.note_ and " ".join(display.note_.get_text().split()))
    print("too many:", sorted(set(drawn_inputs(display)) - MATTER))
    print("formula:", written_law())


if __name__ == "__main__":
    main()
