"""Primitives are the same functions to numpy, torch and sympy."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import skops.io
import sympy
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skkan.formulas._spline_curves import spline_primitive
from skkan.symbolic import LIBRARY, CategoryCurve, Primitive, SplineCurve

every_primitive = pytest.mark.parametrize("primitive", LIBRARY, ids=lambda p: p.name)


def inner_points(primitive):
    """Arguments well inside of the domain of a primitive."""
    low, high = np.clip(primitive.domain, -3, 3)
    return low + (high - low) * np.linspace(0.05, 0.97, 23)


@every_primitive
def test_a_primitive_is_the_same_to_numpy_and_sympy(primitive):
    x = sympy.Symbol("x")
    values = sympy.lambdify(x, primitive.expression(x), "numpy")
    z = inner_points(primitive)
    assert_allclose(primitive.function(z), values(z), rtol=1e-12, atol=1e-14)


@every_primitive
def test_a_primitive_knows_its_derivative(primitive):
    """Compared with central differences, which are precise to 1e-8 or so."""
    z = inner_points(primitive)
    differences = Primitive("f", primitive.function, primitive.expression).slope(z)
    assert_allclose(primitive.slope(z), differences, rtol=1e-6, atol=1e-7)


@every_primitive
@pytest.mark.parametrize("a", [0.3, -0.4])
@pytest.mark.parametrize("c", [2.0, -2.5])
def test_the_normal_form_is_the_same_function(primitive, a, c):
    z = inner_points(primitive)
    b, d = 0.7, 0.2
    x = (z - b) / a
    before = c * primitive.function(z) + d
    a, b, c, d = primitive.normalised(a, b, c, d)
    after = c * primitive.function(a * x + b) + d
    assert_allclose(after, before, rtol=1e-9, atol=1e-12)


@every_primitive
def test_the_normal_form_fixes_what_does_not_matter(primitive):
    """Constants that are not free are the same, whatever was given, up to a sign."""
    forms = [primitive.normalised(*given) for given in [(2, 4, 3, 1), (5, 2, 0.5, 0)]]
    for name, *values in zip("abc", *(np.abs(form) for form in forms), strict=False):
        free = name in primitive.constants or name in primitive.scan
        if primitive.name != "0" and not free:
            assert values[0] == values[1], name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": (1, 0)}, "must be an interval"),
        ({"domain": 3}, "must be an interval"),
        ({"domain": (None, 3)}, "must be an interval"),
        ({"constants": "abd"}, "must be some of 'abc'"),
        ({"scan": "c"}, "scan of 'f' must be one of"),
    ],
)
def test_wrong_primitives_are_told_so(options, message):
    with pytest.raises(ValueError, match=message):
        Primitive("f", np.sin, sympy.sin, **options)


@pytest.mark.parametrize(
    "function",
    [
        torch.sin,
        torch.nn.SiLU(),
        lambda x: x * torch.sigmoid(x),
        np.sin,
        lambda x: x**2,
    ],
)
def test_functions_may_be_of_either_kind(function):
    own = Primitive("own", function, sympy.sin, domain=(3, 9))
    z = np.linspace(4, 5, 6).reshape(2, 3)
    expected = function(z if isinstance(function, np.ufunc) else torch.from_numpy(z))
    assert_allclose(own.function(z), np.asarray(expected), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: 1.0, ValueError, r"'f' must return .* got float 1.0: compute"),
        (lambda x: x.sum(), ValueError, r"must return .* got float64 .* element"),
        (
            lambda x: x[0],
            ValueError,
            r"shape of its argument, \(3, 4\), got shape \(4,",
        ),
        (lambda x: x > 0, ValueError, r"got dtype bool: keep the precision"),
        (lambda x: x + 0j, ValueError, r"got dtype complex128: keep the precision"),
        (lambda x: torch.sin(x).float(), ValueError, r"got dtype float32"),
        (lambda x: x * np.nan, ValueError, r"got NaN at all of -1.83 to 1.83: set dom"),
        (math.sin, TypeError, r"must take a float64 ndarray .* in place of math.sin"),
        ("sin", TypeError, r"of 'f' must be a function of numpy or torch"),
    ],
)
@pytest.mark.parametrize("role", ["function", "derivative"])
def test_functions_that_are_none_are_told_so(role, function, error, message):
    """At construction, with the name and a remedy."""
    functions = {"function": np.sin, "derivative": np.cos, role: function}
    with pytest.raises(error, match=message):
        Primitive("f", expression=sympy.sin, **functions)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("f", np.sin, None), TypeError, "expression of 'f' must be a function"),
        (("", np.sin, sympy.sin), ValueError, "name must be text"),
    ],
)
def test_wrong_parts_of_primitives_are_told_so(arguments, error, message):
    with pytest.raises(error, match=message):
        Primitive(*arguments)
    with pytest.raises(ValueError, match="complexity of 'f' must be a finite number"):
        Primitive("f", np.sin, sympy.sin, complexity=-1)
    with pytest.raises(TypeError, match="normal_form of 'f' must be a function"):
        Primitive("f", np.sin, sympy.sin, normal_form="odd")


def test_functions_are_shown_without_addresses():
    """So that names of tests, and printed estimators, are the same in each process."""
    assert not [function for function in LIBRARY if " at 0x" in repr(function)]
    assert "name='x^2'" in repr([one for one in LIBRARY if one.name == "x^2"])


# Files.


def from_skops(thing):
    stored = skops.io.dumps(thing)
    return skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))


def from_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


every_kind = pytest.mark.parametrize("copied", [from_pickle, from_skops])


@every_kind
@every_primitive
def test_a_restored_primitive_of_the_library_is_known_again(primitive, copied):
    """So that names stand for it; one of changed settings keeps these."""
    assert copied(primitive) == primitive
    dear = replace(primitive, complexity=9.0)
    assert copied(dear) == dear != primitive


@every_primitive
def test_a_stored_primitive_of_the_library_names_no_function(primitive):
    """So that functions may be moved and renamed."""
    stored = skops.io.dumps(replace(primitive, complexity=9.0))
    assert skops.io.get_untrusted_types(data=stored) == ["skkan.symbolic.Primitive"]


@every_kind
@pytest.mark.parametrize(
    "curve",
    [
        SplineCurve(
            "phi_0",
            np.array([-1.0, 0.5, 1.0]),
            np.array([[1.0, -2.0], [0.3, 0.1]]),
            0.7,
            "silu",
            0.1,
            2.0,
            linear=True,
        ),
        CategoryCurve("phi_1", np.array(["a", "b"]), np.array([0.5, -1.0])),
    ],
    ids=["spline", "category"],
)
def test_a_restored_curve_is_the_same_function(curve, copied):
    """Values, derivatives and expression come from the restored curve."""
    z = np.linspace(-2, 2, 9)
    primitive = spline_primitive(curve, of_input=False)
    restored = copied(primitive)
    assert_array_equal(restored.function(z), curve(z))
    assert_array_equal(restored.slope(z), primitive.slope(z))
    assert restored.derivative.__self__ is restored.function
    symbol = sympy.Symbol("x")
    values = sympy.lambdify(symbol, restored.expression(symbol), "numpy")
    assert_array_equal(values(z), curve(z))


@every_kind
def test_a_restored_primitive_of_ones_own_keeps_its_functions(copied):
    """Those of torch, which are called with arrays, as well."""
    own = Primitive("erf", torch.erf, sympy.erf, constants="ac", domain=(-3, np.inf))
    assert copied(own) == own


def test_unknown_functions_of_a_file_are_told():
    """A later library may have written it."""
    primitive = object.__new__(Primitive)
    state = LIBRARY[0].__getstate__() | {"function": "airy"}
    with pytest.raises(ValueError, match=r"must be one of .*LIBRARY, got 'airy'"):
        primitive.__setstate__(state)
