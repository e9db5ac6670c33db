"""The functions f of which formulas c f(a x + b) + d are made.

A `Primitive` is one such function in numpy (or torch) and in sympy. Its `normal_form`
maps equivalent constants to one choice of them, so that a formula has no constant too
many. Nothing here knows of networks or of data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from numbers import Real

import numpy as np
from scipy.special import expit

from skkan.formulas._array_functions import TensorFunction, on_arrays, trial_points

# Step of central differences, near the cube root of the machine epsilon.
DIFFERENCE_STEP = 1e-6
# Points of an interval at which a function without known turning points is evaluated.
N_BOUND_POINTS = 65
CONSTANTS = ("a", "b", "c")
ROLES = ("function", "expression", "derivative", "normal_form")  # of callables
SCANS = ("", "a", "b", "ab")
SILU_MINIMUM = -1.2784645427610738  # where 1 + x sigmoid(-x) = 0
EVERYWHERE = (-np.inf, np.inf)
POSITIVE = (0.0, np.inf)


@dataclass(frozen=True)
class Primitive:
    """A function f of one variable, to be used as c f(a x + b) + d.

    Parameters
    ----------
    name : str
        Name by which formulas show the function and users ask for it.
    function : callable
        Takes a float64 ndarray or a float64 tensor of any shape, and returns the values
        element by element. A trial call finds out which of the two it takes. The
        attribute takes and returns ndarrays. Formulas can be pickled if their functions
        can: define them in a module, not as lambdas.
    expression : callable
        Maps a sympy expression to the function of it.
    derivative : callable, default=None
        Derivative of `function`, in numpy or torch; None takes central differences.
    domain : tuple of (float, float), default=(-inf, inf)
        Open interval that the arguments a x + b of a fit's rows must not leave.
    complexity : float, default=3.0
        Cost of the function in a formula, in bits, beside that of its constants.
    constants : str, default="abc"
        Constants among a, b and c that are fitted; others keep their scanned values.
    scan : {"", "a", "b", "ab"}, default="ab"
        Constants of which the first, coarse fit tries many values. The others are a = 1
        (and -1) and b = 0.
    normal_form : callable, default=None
        Maps (a, b, c, d) to equivalent constants.
    turning_points : tuple of float, default=None
        Arguments at which the function has a maximum or a minimum; () if it is
        monotone. Formulas are bounded by them. None bounds them by values at many
        points.
    period : float, default=None
        Distance at which the turning points repeat.

    Raises
    ------
    TypeError
        If an argument is not callable where it has to be, or a function takes neither
        arrays nor tensors.
    ValueError
        If values in the domain have another shape or dtype, or are all undefined, or
        if another argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> import sympy
    >>> from skkan.symbolic import Primitive
    >>> sinc = Primitive("sinc", np.sinc, lambda x: sympy.sinc(sympy.pi * x))
    >>> float(sinc.function(np.array(0.5)).round(4))
    0.6366
    >>> import torch
    >>> def expression(x):
    ...     return sympy.log(1 + sympy.exp(x))
    >>> softplus = Primitive("softplus", torch.nn.functional.softplus, expression)
    >>> softplus.function(np.zeros(2)).round(4)
    array([0.6931, 0.6931])
    """

    __module__ = "skkan.symbolic"

    name: str
    function: Callable = field(repr=False)
    expression: Callable = field(repr=False)
    derivative: Callable | None = field(default=None, repr=False)
    domain: tuple = EVERYWHERE
    complexity: float = 3.0
    constants: str = "abc"
    scan: str = "ab"
    normal_form: Callable | None = field(default=None, repr=False)
    turning_points: tuple | None = field(default=None, repr=False)
    period: float | None = field(default=None, repr=False)

    def __post_init__(self):
        self._check_settings()
        for role in ("expression", "normal_form"):
            value = getattr(self, role)
            if not (callable(value) or (value is None and role == "normal_form")):
                raise TypeError(
                    f"{role} of {self.name!r} must be a function, got {value!r}: pass "
                    "a callable such as sympy.sin."
                )
        z = trial_points(*self.domain)
        function = on_arrays(self.function, "function", self.name, z)
        object.__setattr__(self, "function", function)
        if self.derivative is not None:
            derivative = on_arrays(self.derivative, "derivative", self.name, z)
            object.__setattr__(self, "derivative", derivative)

    def __getstate__(self):
        # Files name no function of this module, so that they stay valid when it moves:
        # the library's functions go by the name of their primitive, methods of a curve
        # are left out, and functions of tensors are those that the user gave.
        state = dict(vars(self), of_tensors=[])
        for role in ROLES:
            value = state[role]
            if isinstance(value, TensorFunction):
                state[role] = value.function
                state["of_tensors"].append(role)
            elif value is not None and value == getattr(self.function, role, None):
                del state[role]
            elif value is not None:
                state[role] = _name_in_library(role, value) or value
        return state

    def __setstate__(self, state):
        own = dict(state)
        of_tensors = own.pop("of_tensors")
        for role in ROLES:
            if isinstance(own.get(role), str):
                own[role] = getattr(_of_library(own[role]), role)
            elif role in of_tensors:
                own[role] = TensorFunction(own[role])
            elif role not in own:
                own[role] = getattr(own["function"], role)
        vars(self).update(own)

    def _check_settings(self):
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(
                f"name must be text by which the function is asked for, got "
                f"{self.name!r}: pass a str such as 'softplus'."
            )
        ends = tuple(self.domain) if np.iterable(self.domain) else ()
        numbers = len(ends) == 2 and all(isinstance(end, Real) for end in ends)
        if not (numbers and ends[0] < ends[1]):
            raise ValueError(
                f"domain of {self.name!r} must be an interval (low, high) with low < "
                f"high, got {self.domain}: use -inf and inf where there is no end."
            )
        if not set(self.constants) <= set(CONSTANTS):
            raise ValueError(
                f"constants of {self.name!r} must be some of 'abc', got "
                f"{self.constants!r}: d belongs to every formula and is not named."
            )
        if self.scan not in SCANS:
            raise ValueError(
                f"scan of {self.name!r} must be one of {SCANS}, got {self.scan!r}: "
                "name those of a and b of which many values are to be tried."
            )
        if isinstance(self.complexity, bool) or not (
            isinstance(self.complexity, Real) and 0 <= self.complexity < math.inf
        ):
            raise ValueError(
                f"complexity of {self.name!r} must be a finite number of bits of at "
                f"least 0, got {self.complexity!r}: 3 is that of most functions."
            )

    def slope(self, z):
        """Derivative at `z`, by central differences where none was given."""
        if self.derivative is not None:
            return self.derivative(z)
        step = DIFFERENCE_STEP * np.maximum(1.0, np.abs(z))
        return (self.function(z + step) - self.function(z - step)) / (2 * step)

    def admits(self, z):
        """Whether all of `z` lies in the domain."""
        low, high = self.domain
        return bool(low < z.min() and z.max() < high) if z.size else True

    def bounds(self, low, high):
        """Bounds of the function on intervals within its closed domain.

        Parameters
        ----------
        low, high : ndarray of shape (n_intervals,)

        Returns
        -------
        low, high : ndarrays of shape (n_intervals,)
            Infinite where the function is not bounded.
        """
        if self.turning_points is None:
            inner = np.linspace(low, high, N_BOUND_POINTS)
            values = self.function(inner)
            slack = np.abs(np.diff(values, axis=0)).max(axis=0)
        else:
            ends = [low, high]
            for point in self.turning_points:
                if self.period is not None:
                    turns = np.ceil((low - point) / self.period)
                    point = point + self.period * turns
                ends.append(np.clip(point, low, high))
            values, slack = self.function(np.array(ends)), 0.0
        unknown = np.isnan(values).any(axis=0)
        least = np.where(unknown, -np.inf, values.min(axis=0) - slack)
        return least, np.where(unknown, np.inf, values.max(axis=0) + slack)

    def normalised(self, a, b, c, d):
        """(a, b, c, d) in the normal form, as floats."""
        if self.normal_form is not None:
            a, b, c, d = self.normal_form(a, b, c, d)
        return float(a), float(b), float(c), float(d)


# Normal forms. Each comes from an identity of the function.


def _linear_form(a, b, c, d):
    return 1.0, 0.0, c * a, d + c * b


def _power_form(a, b, c, d, *, degree):
    """f(s x) = s^degree f(x) for s of either sign."""
    return 1.0, b / a, c * a**degree, d


def _homogeneous_form(a, b, c, d, *, degree):
    """f(s x) = s^degree f(x) for positive s."""
    size = abs(a)
    return math.copysign(1.0, a), b / size, c * size**degree, d


_root_form = partial(_homogeneous_form, degree=0.5)


def _absolute_form(a, b, c, d):
    return 1.0, b / a, c * abs(a), d


def _sign_form(a, b, c, d):
    return 1.0, b / a, math.copysign(c, c * a), d


def _log_form(a, b, c, d):
    size = abs(a)
    return math.copysign(1.0, a), b / size, c, d + c * math.log(size)


def _exp_form(a, b, c, d):
    if c == 0:
        return a, b, c, d
    return a, b + math.log(abs(c)), math.copysign(1.0, c), d


def _odd_form(a, b, c, d):
    return (-a, -b, -c, d) if a < 0 else (a, b, c, d)


def _even_form(a, b, c, d):
    return (-a, -b, c, d) if a < 0 else (a, b, c, d)


def _arccos_form(a, b, c, d):
    return (-a, -b, -c, d + c * math.pi) if a < 0 else (a, b, c, d)


def _sine_form(a, b, c, d):
    """Positive frequency, phase within a quarter of a turn."""
    return _in_quarter_turn(*_odd_form(a, b, c, d))


def _cosine_form(a, b, c, d):
    """Positive frequency, phase within a quarter of a turn."""
    return _in_quarter_turn(*_even_form(a, b, c, d))


def _in_quarter_turn(a, b, c, d):
    half_turns = round(b / math.pi)
    return a, b - half_turns * math.pi, c * (-1) ** half_turns, d


def _tan_form(a, b, c, d):
    a, b, c, d = _odd_form(a, b, c, d)
    return a, b - round(b / math.pi) * math.pi, c, d


# Functions and derivatives that numpy lacks.


def _same(x):
    return x


def _power(x, *, degree):
    return x**degree


def _power_slope(x, *, degree):
    return degree * x ** (degree - 1)


def _zero(x):
    return 0 * x


def _one(x):
    return 0 * x + 1


def _inverse_root(x):
    return 1 / np.sqrt(x)


def _root_slope(x):
    return 0.5 / np.sqrt(x)


def _minus_sin(x):
    return -np.sin(x)


def _tan_slope(x):
    return 1 + np.tan(x) ** 2


def _tanh_slope(x):
    return 1 - np.tanh(x) ** 2


def _sigmoid_slope(x):
    return expit(x) * expit(-x)


def _arcsin_slope(x):
    return 1 / np.sqrt(1 - x**2)


def _arccos_slope(x):
    return -1 / np.sqrt(1 - x**2)


def _arctan_slope(x):
    return 1 / (1 + x**2)


def _arctanh_slope(x):
    return 1 / (1 - x**2)


def _gaussian(x):
    return np.exp(-(x**2))


def _gaussian_slope(x):
    return -2 * x * np.exp(-(x**2))


def _silu(x):
    return x * expit(x)


def _silu_slope(x):
    return expit(x) * (1 + x * expit(-x))


# Expressions of sympy.


def _of_sympy(x, *, name):
    """A function of sympy by its name."""
    import sympy

    return getattr(sympy, name)(x)


def _sympy(name):
    return partial(_of_sympy, name=name)


def _inverse_root_expression(x):
    return 1 / _sympy("sqrt")(x)


def _sigmoid_expression(x):
    return 1 / (1 + _sympy("exp")(-x))


def _gaussian_expression(x):
    return _sympy("exp")(-(x**2))


def _silu_expression(x):
    return x / (1 + _sympy("exp")(-x))


# Families of primitives. Both signs of an argument cover both sides of a pole.
_monotone = partial(Primitive, turning_points=())
_factor_only = partial(_monotone, constants="c", scan="")
_shifted = partial(_monotone, constants="bc", scan="b")
_on_positive = partial(_shifted, domain=POSITIVE)
_simple_on_positive = partial(_on_positive, complexity=2.0)
_wave = partial(Primitive, complexity=2.0, period=2 * math.pi)
_odd = partial(_monotone, normal_form=_odd_form)
_odd_within_one = partial(_odd, domain=(-1.0, 1.0), complexity=4.0)


def _power_primitive(degree):
    power = partial(_power, degree=degree)
    slope = partial(_power_slope, degree=degree)
    form = partial(_power_form, degree=degree)
    return _shifted(
        f"x^{degree}",
        power,
        power,
        slope,
        complexity=degree,
        normal_form=form,
        turning_points=() if degree % 2 else (0.0,),
    )


def _inverse_power_primitive(degree):
    name = "1/x" if degree == 1 else f"1/x^{degree}"
    power = partial(_power, degree=-degree)
    slope = partial(_power_slope, degree=-degree)
    form = partial(_homogeneous_form, degree=-degree)
    return _on_positive(
        name, power, power, slope, complexity=degree + 1, normal_form=form
    )


ZERO = _monotone("0", _zero, _zero, _zero, complexity=0.0, constants="", scan="")
# The constant of a factor; no candidate of an edge.
ONE = _factor_only("1", _one, _one, _zero, complexity=0.0)
LINEAR = _factor_only(
    "x", _same, _same, np.ones_like, complexity=1.0, normal_form=_linear_form
)
# Complexities in bits: one for each operation of a pocket calculator, and one more for
# functions that are steeper than the functions they are mistaken for.
LIBRARY = (
    ZERO,
    LINEAR,
    *(_power_primitive(degree) for degree in (2, 3, 4, 5)),
    *(_inverse_power_primitive(degree) for degree in (1, 2, 3, 4, 5)),
    _simple_on_positive(
        "sqrt", np.sqrt, _sympy("sqrt"), _root_slope, normal_form=_root_form
    ),
    _on_positive(
        "1/sqrt",
        _inverse_root,
        _inverse_root_expression,
        partial(_power_slope, degree=-0.5),
        normal_form=partial(_homogeneous_form, degree=-0.5),
    ),
    _monotone(
        "exp",
        np.exp,
        _sympy("exp"),
        np.exp,
        complexity=2.0,
        constants="ab",
        scan="a",
        normal_form=_exp_form,
    ),
    _simple_on_positive(
        "log", np.log, _sympy("log"), np.reciprocal, normal_form=_log_form
    ),
    _shifted(
        "abs",
        np.abs,
        _sympy("Abs"),
        np.sign,
        normal_form=_absolute_form,
        turning_points=(0.0,),
    ),
    _wave(
        "sin",
        np.sin,
        _sympy("sin"),
        np.cos,
        normal_form=_sine_form,
        turning_points=(-math.pi / 2, math.pi / 2),
    ),
    _wave(
        "cos",
        np.cos,
        _sympy("cos"),
        _minus_sin,
        normal_form=_cosine_form,
        turning_points=(0.0, math.pi),
    ),
    _monotone(
        "tan",
        np.tan,
        _sympy("tan"),
        _tan_slope,
        domain=(-math.pi / 2, math.pi / 2),
        normal_form=_tan_form,
    ),
    Primitive(
        "cosh",
        np.cosh,
        _sympy("cosh"),
        np.sinh,
        normal_form=_even_form,
        turning_points=(0.0,),
    ),
    _odd("sinh", np.sinh, _sympy("sinh"), np.cosh),
    _odd("tanh", np.tanh, _sympy("tanh"), _tanh_slope),
    _monotone("sigmoid", expit, _sigmoid_expression, _sigmoid_slope),
    _odd_within_one("arcsin", np.arcsin, _sympy("asin"), _arcsin_slope),
    _odd_within_one(
        "arccos", np.arccos, _sympy("acos"), _arccos_slope, normal_form=_arccos_form
    ),
    _odd("arctan", np.arctan, _sympy("atan"), _arctan_slope),
    _odd_within_one("arctanh", np.arctanh, _sympy("atanh"), _arctanh_slope),
    _shifted(
        "sign", np.sign, _sympy("sign"), _zero, constants="c", normal_form=_sign_form
    ),
    Primitive(
        "gaussian",
        _gaussian,
        _gaussian_expression,
        _gaussian_slope,
        normal_form=_even_form,
        turning_points=(0.0,),
    ),
    Primitive(
        "silu", _silu, _silu_expression, _silu_slope, turning_points=(SILU_MINIMUM,)
    ),
)


def _of_library(name):
    for primitive in (*LIBRARY, ONE):
        if primitive.name == name:
            return primitive
    raise ValueError(
        f"A stored function must be one of skkan.symbolic.LIBRARY, got {name!r}: load "
        "the file with the version of skkan that wrote it."
    )


def _name_in_library(role, value):
    """Name of the first primitive of the library with a callable, or None."""
    having = (p.name for p in (*LIBRARY, ONE) if getattr(p, role) is value)
    return next(having, None)
