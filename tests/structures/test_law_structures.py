"""The structure of a law is found before any of its functions has a name."""

import numpy as np
import pytest

from skkan.structures._law_structures import find_structures
from skkan.structures._links import LINKS

NAMES = {link.name for link in LINKS}
LAWS = {
    "sum": (lambda a, b, c: np.sin(3 * a) + c**2, "x", ()),
    "root of a sum": (lambda a, b, c: np.sqrt(a**2 + np.exp(c)), "sqrt", ()),
    "product of one sign": (lambda a, b, c: a * b / c, "exp", ()),
    "sum and product": (lambda a, b, c: b + a * np.sin(6 * c), "x", ((0, 2),)),
    "three factors": (lambda a, b, c: a * (1 + b * np.cos(6 * c)), "x", ((0, 1, 2),)),
    "two products": (
        lambda a, b, c: c * np.hypot(a, b),
        "sqrt",
        ((0, 2), (1, 2)),
    ),
    "arcsine": (lambda a, b, c: np.arcsin(a * np.sin(6 * b)), "arcsin", ((0, 1),)),
}


@pytest.mark.parametrize("law", LAWS)
def test_structures_of_laws(law, rng):
    """Of least description length, with 1% of noise."""
    function, link, products = LAWS[law]
    X = rng.uniform(0.2, 1, (500, 3))
    y = function(*X.T)
    y = y + 0.01 * y.std() * rng.normal(size=len(y))
    found = find_structures(X, y, np.ones(len(y)), NAMES)
    first = min(found, key=lambda structure: structure.nats)
    assert first.link.name == link
    assert sorted(first.model.products) == sorted(products)
    assert first.error == pytest.approx(0.01, rel=0.1)


def test_weights_are_repetitions(rng):
    """Of rows, for a structure with a product."""
    X = rng.uniform(0.2, 1, (150, 2))
    y = X[:, 1] + X[:, 0] * np.sin(6 * X[:, 1]) + 0.1 * rng.normal(size=150)
    weight = rng.integers(1, 4, 150)
    repeated = np.repeat(X, weight, axis=0), np.repeat(y, weight)
    one = find_structures(X, y, weight.astype(float), {"x"})
    other = find_structures(*repeated, np.ones(weight.sum()), {"x"})
    assert [s.model.products for s in one] == [s.model.products for s in other]
    np.testing.assert_allclose(
        [s.error for s in one], [s.error for s in other], rtol=1e-6
    )


def test_outer_functions_that_are_not_asked_for_stay_out(rng):
    X = rng.uniform(0.2, 1, (200, 2))
    found = find_structures(X, X[:, 0] * X[:, 1], np.ones(200), {"x"})
    assert {structure.link.name for structure in found} == {"x"}


@pytest.mark.parametrize("scale", [0.0, 1e6, 1e-12])
def test_targets_of_any_scale_raise_no_warning(scale, rng):
    """They are outside of what an outer function reaches, or do not vary."""
    X = rng.uniform(1, 2, (60, 2))
    structure = find_structures(X, scale * X[:, 0], np.ones(60), NAMES)[0]
    assert structure.error < 1e-8
