"""Texts of displays: names of a width that fits, and numbers of a few digits."""

import re
from textwrap import TextWrapper

import numpy as np

MAX_CATEGORY_LETTERS = 14  # longer names are shortened
LEVEL_DIGITS = 4  # of the values of a number, unless they need more
# Letters of a line, which fits beside a panel, and of a label of three lines.
LINE_LETTERS, LABEL_LETTERS = 24, 66
# A name of a column is several words, too, and a number is one.
WORD_ENDS = re.compile(r"(\s+|[^\s_.-]+(?:_+|[.-]+(?=[^\W\d])))")
LETTER_WIDTH = 0.6  # of a letter, in units of the font size
MAX_DIGITS = 6  # of a number without an exponent
TICK_ROUNDING = 1e-3  # of the step between ticks
SMALLEST_PERCENT, WHOLE_PERCENT = 0.0005, 0.095  # shares that are 0.1% and 10%
SHARE_ROUNDING = 1e-12  # of a share


def checked_names(parameter, given, n_nodes):
    """Given names as a list of str; raises a ValueError unless each node has one."""
    given = [given] if isinstance(given, str) else [str(name) for name in given]
    if len(given) != n_nodes:
        raise ValueError(
            f"{parameter} must hold one name for each of the {n_nodes} "
            f"{parameter.removesuffix('_names')}s, got {len(given)}: {given}."
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
    wrapper = TextWrapper(n_line_letters)
    wrapper.wordsep_re = WORD_ENDS
    return wrapper.fill(shortened(text, n_letters))


def with_remark(name, remark):
    """Name of a feature, and what is to be known of its axis."""
    if not remark:
        return wrapped(name)
    both = f"{name} ({remark})"
    if len(both) <= LINE_LETTERS:
        return both
    return f"{wrapped(name)}\n{wrapped(f'({remark})')}"


def short_number(value, digits=LEVEL_DIGITS):
    """A number of some digits, without an exponent if it has few zeros."""
    rounded = float(f"{value:.{digits}g}") + 0.0  # no negative zero
    text = f"{rounded:.{max(MAX_DIGITS, digits)}g}"
    return text.replace("e+0", "e").replace("e-0", "e-")


def tick_names(ticks):
    """Names of ticks in equal steps, list of str.

    Each has an exponent of its own if it needs one. One for all would stand at the end
    of the axis, where titles and legends are.
    """
    ticks = np.asarray(ticks, dtype=float)
    steps = np.abs(np.diff(ticks, prepend=0.0))
    tolerance = TICK_ROUNDING * steps[steps > 0].min(initial=np.inf)
    ticks = np.where(np.abs(ticks) < tolerance, 0.0, ticks)
    for digits in range(1, 16):
        names = [short_number(tick, digits) for tick in ticks]
        if all(np.abs(np.array(names, dtype=float) - ticks) <= tolerance):
            break
    return [name.replace("-", "\N{MINUS SIGN}") for name in names]


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
    return [short_number(value, digits) for value in values]


def category_name(category):
    """A category as short text, numbers without needless digits."""
    # Codes may have seven digits and more, which the default format would round.
    text = f"{category:.15g}" if isinstance(category, float) else str(category)
    return shortened(text, MAX_CATEGORY_LETTERS)
