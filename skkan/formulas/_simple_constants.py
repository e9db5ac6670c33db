"""Constants as one would write them: integers, simple fractions, multiples of pi."""

import math

DENOMINATORS = (1, 2, 3, 4, 5, 6, 8, 10)
MAX_NUMERATOR = 100  # of a fraction or of a multiple of pi; integers may be larger


def near_constants(value):
    """Simple constants near a number, a list without repetitions, simple ones first."""
    near = []
    for unit in (1.0, math.pi):
        for denominator in DENOMINATORS:
            numerator = round(value * denominator / unit)
            if abs(numerator) <= MAX_NUMERATOR or (unit, denominator) == (1.0, 1):
                near.append(_number(numerator, denominator, unit))
    return sorted(dict.fromkeys(near), key=constant_nats)


def simple_form(value):
    """(numerator, denominator, unit) of a simple constant, None for other numbers.

    The unit is 1 or pi. The number has to be that constant to the last bit.
    """
    for unit in (1.0, math.pi):
        for denominator in DENOMINATORS:
            if not math.isfinite(value):
                return None
            numerator = round(value * denominator / unit)
            is_small = abs(numerator) <= MAX_NUMERATOR or (unit, denominator) == (
                1.0,
                1,
            )
            if is_small and _number(numerator, denominator, unit) == value:
                return numerator, denominator, unit
    return None


def constant_nats(value):
    """Code length of a simple constant in nats: sign, digits, and what it is."""
    numerator, denominator, unit = simple_form(value)
    bits = 1 + 2 * math.log2(1 + abs(numerator)) + math.log2(denominator)
    bits += (denominator > 2) + 2 * (unit != 1)
    return math.log(2) * bits


def _number(numerator, denominator, unit):
    return numerator * unit / denominator
