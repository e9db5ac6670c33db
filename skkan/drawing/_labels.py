"""Texts of displays: names of a width that fits, and numbers of a few digits."""

from textwrap import fill

import numpy as np

MAX_CATEGORY_LETTERS = 14  # longer names are shortened
LEVEL_DIGITS = 4  # of the values of a number, unless they need more
# Letters of a line, which fits beside a panel, and of a label of three lines.
LINE_LETTERS, LABEL_LETTERS = 24, 66
MAX_DIGITS = 6  # of the name of a tick
SMALLEST_PERCENT, WHOLE_PERCENT = 0.0005, 0.095  # shares that are 0.1% and 10%
SHARE_ROUNDING = 1e-12  # of a share


def checked_names(parameter, given, n_nodes):
    """Given names as a list of str; raises a ValueError unless each node has one."""
    given = [given] if isinstance(given, str) else [str(name) for name in given]
    if len(given) != n_nodes:
        raise ValueError(
            f"{parameter} must hold one name for each of the {n_nodes} nodes, got "
            f"{len(given)}: {given}."
        )
    return given


def shortened(text, n_letters):
    """A text of at most `n_letters` letters; a longer one loses its middle."""
    if len(text) <= n_letters:
        return text
    end = (n_letters - 1) // 2
    return f"{text[: n_letters - 1 - end]}…{text[len(text) - end :]}"


def wrapped(text, n_letters=LABEL_LETTERS, n_line_letters=LINE_LETTERS):
    """A label in lines, by default such that fit beside a panel."""
    return fill(shortened(text, n_letters), n_line_letters)


def with_remark(name, remark):
    """Name of a feature, and what is to be known of its axis."""
    if not remark:
        return wrapped(name)
    both = f"{name} ({remark})"
    if len(both) <= LINE_LETTERS:
        return both
    return f"{wrapped(name)}\n{wrapped(f'({remark})')}"


def short_number(value, digits=4):
    """A number of some digits, without an exponent if it has few zeros."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.{MAX_DIGITS}g}".replace("e+0", "e").replace("e-0", "e-")


def percent(share):
    """A share in percent with one or two significant digits, str."""
    if abs(share) < SMALLEST_PERCENT:
        return "0%" if abs(share) < SHARE_ROUNDING else "<0.1%"
    digits = 0 if abs(share) >= WHOLE_PERCENT else 1
    return f"{100 * share:.{digits}f}%"


def level_names(values):
    """Values of a number as text, by as few digits as tell them apart, list of str."""
    for digits in range(LEVEL_DIGITS, 16):
        rounded = np.array([float(f"{value:.{digits}g}") for value in values])
        whole = np.equal(np.mod(values, 1), 0)
        if len(set(rounded)) == len(values) and np.all(rounded[whole] == values[whole]):
            break
    return [f"{value:.{digits}g}".replace("e+0", "e") for value in rounded]


def category_name(category):
    """A category as short text, numbers without needless digits."""
    # Codes may have seven digits and more, which the default format would round.
    text = f"{category:.15g}" if isinstance(category, float) else str(category)
    return shortened(text, MAX_CATEGORY_LETTERS)
