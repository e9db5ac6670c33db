"""Bounds of formulas hold, and say where a formula is not safe."""

import numpy as np
import pytest

from skkan.formulas._intervals import Box, bounds
from skkan.symbolic import LIBRARY, Formula, Primitive, Term

BY_NAME = {primitive.name: primitive for primitive in LIBRARY}
INTO_OUTPUT = (0, 0), (1, 0)


@pytest.mark.parametrize("primitive", LIBRARY, ids=lambda primitive: primitive.name)
def test_bounds_of_functions_hold_all_values(primitive, rng):
    """They are the least and the largest of 1,000 values, but for what lies between."""
    low, high = np.clip(primitive.domain, -4, 4) * 0.999
    ends = np.sort(rng.uniform(low, high, (2, 50)), axis=0)
    least, most = primitive.bounds(*ends)
    values = primitive.function(np.linspace(*ends, 1001))
    steps = np.abs(np.diff(values, axis=0)).max(axis=0) + 1e-12
    assert np.all((least <= values.min(0) + 1e-12) & (values.min(0) <= least + steps))
    assert np.all((most >= values.max(0) - 1e-12) & (values.max(0) >= most - steps))


def test_functions_of_ones_own_are_bounded_by_their_values(rng):
    """With a margin of the largest step between them."""
    sinc = Primitive("sinc", np.sinc, lambda x: x)
    least, most = sinc.bounds(np.array([-3.0]), np.array([2.5]))
    assert -0.4 < least[0] <= np.sinc(np.linspace(-3, 2.5, 999)).min()
    assert 1 <= most[0] < 1.2


def test_bounds_of_products_and_compositions_hold_dense_samples(rng):
    """Of exp(x0^2 (sin(3 x1) - x0)) on small boxes, where they are tight."""
    terms = (
        Term((0, 0), (1, 0), BY_NAME["x^2"]),
        Term((0, 1), (1, 1), BY_NAME["sin"], a=3.0),
        Term((0, 0), (1, 1), BY_NAME["x"], c=-1.0),
        Term((1, 2), (2, 0), BY_NAME["exp"]),
    )
    products = (((1, 2), ((1, 0), (1, 1))),)
    formula = Formula((2, 3, 1), terms, np.zeros(1), products=products)
    low = rng.uniform(-1, 1, (40, 2))
    high = low + 0.01
    least, most, _, _ = bounds(formula, low, high)
    share = rng.uniform(size=(200, 40, 2))
    values = formula((low + share * (high - low)).reshape(-1, 2)).reshape(200, 40)
    assert np.all((least[:, 0] <= values.min(0)) & (values.max(0) <= most[:, 0]))
    assert np.all(most[:, 0] - least[:, 0] < 5 * np.ptp(values, axis=0) + 1e-3)


@pytest.mark.parametrize(
    ("name", "shift", "factor", "is_safe", "n_exits"),
    [
        ("1/x", 0.1, 0.1, True, 0),
        ("1/x", 1e-4, 0.01, False, 1),  # a pole just outside, harmless on the rows
        ("log", 0.0, 1.0, False, 1),
        ("sqrt", 0.0, 1.0, True, 1),  # it ends where the rows begin, but is bounded
        ("sqrt", -0.1, 1.0, False, 1),
        ("arctanh", -1.0, 1.0, False, 1),
    ],
)
def test_poles_and_ends_of_domains(name, shift, factor, is_safe, n_exits):
    """On the range of the rows, [0, 1], and just outside."""
    term = Term(*INTO_OUTPUT, BY_NAME[name], b=shift, c=factor)
    formula = Formula((1, 1), (term,), np.zeros(1))
    rows = np.linspace(0, 1, 101)[:, None]
    box = Box.of_rows(rows, np.array([[0.0], [10.0]]))
    assert box.holds(formula) == is_safe
    assert len(box.exits(formula)) == n_exits


def test_boxes_are_halved_where_bounds_are_wide():
    """(x0 - x1)^2 + x1 (1 - x1) is small, but the intervals of its terms are not."""
    terms = (
        Term((0, 0), (1, 0), BY_NAME["x"]),
        Term((0, 1), (1, 0), BY_NAME["x"], c=-1.0),
        Term((1, 0), (2, 0), BY_NAME["x^2"]),
        Term((0, 1), (2, 0), BY_NAME["x"], c=40.0),
        Term((0, 1), (2, 0), BY_NAME["x^2"], c=-40.0),
    )
    formula = Formula((2, 1, 1), terms, np.zeros(1))
    rows = np.random.default_rng(0).uniform(size=(500, 2))
    values = formula(rows)
    assert Box.of_rows(rows, values).holds(formula)
    assert not Box.of_rows(rows, values / 8).holds(formula)
