"""Names of features and targets: as identifiers of Python, and as LaTeX.

An identifier may differ from the name; LaTeX shows the name as it was given.
"""

import keyword
import re
import unicodedata
from itertools import chain, count

# Names that written sources use: our own, and those of sympy's printers.
RESERVED = {"numpy", "np", "formula", "scipy", "math", "pi", "E", "I", "oo", "nan"}
RESERVED |= {"exp", "log", "sqrt", "abs", "Abs", "sign", "select", "less", "greater"}
RESERVED |= {"sin", "cos", "tan", "tanh", "arcsin", "arccos", "arctan", "arctanh"}
RESERVED |= {"asin", "acos", "atan", "atanh", "less_equal", "greater_equal", "array"}
RESERVED |= {"logical_and", "logical_or", "inf", "minimum", "maximum", "where"}
RESERVED |= {"zeros", "__debug__"}
CURVE_NAMES = re.compile("(d[0-9]*)?phi_[0-9]+")  # and those of their derivatives
# Names that LaTeX typesets as a letter with an index. The names e and pi are set
# upright, since they would read as numbers.
GREEK_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho "
)
GREEK_LETTERS += "sigma tau upsilon phi chi psi omega"
LETTER_AND_INDEX = re.compile(rf"([a-zA-Z]|{'|'.join(GREEK_LETTERS.split())})([0-9]*)")
NUMBER_NAMES = {"e", "pi"}
# LaTeX's special characters, and the space, as its maths mode writes them.
ESCAPES = {character: f"\\{character}" for character in " #$%&_{}"}
ESCAPES |= {"\\": r"\backslash ", "^": r"{\wedge}", "~": r"{\sim}"}
UPRIGHT = re.compile(r"[a-zA-Z0-9()/.]+")  # \mathrm sets these as text does


def distinct_identifiers(names):
    """Identifiers that resemble names, all different and none that sources use.

    They are in Unicode's normal form KC, in which Python compares identifiers.
    """
    clean = [_identifier(name) for name in names]
    reserved = RESERVED | set(filter(CURVE_NAMES.fullmatch, clean))
    return _distinct(clean, lambda name, number: f"{name}_{number}", reserved)


def _identifier(name):
    clean = "".join(
        character if f"x{character}".isidentifier() else "_"
        for character in unicodedata.normalize("NFKC", name)
    )
    if not clean.isidentifier():
        clean = f"x_{clean}" if clean else "x"
    return f"{clean}_" if keyword.iskeyword(clean) else clean


def latex_names(names, letter):
    """LaTeX of names, all different.

    A single letter keeps its number as an index. Other names are upright. `letter`
    stands before names that do not begin with a letter.
    """
    latex = [_latex_name(name, letter) for name in names]
    return _distinct(latex, lambda name, number: f"{{{name}}}_{{({number})}}")


def _distinct(names, numbered, reserved=()):
    """Names, of which those that are taken already get a number."""
    taken, distinct = set(reserved), []
    for name in names:
        others = (numbered(name, number) for number in count(2))
        free = next(each for each in chain([name], others) if each not in taken)
        taken.add(free)
        distinct.append(free)
    return distinct


def _latex_name(name, letter):
    short = LETTER_AND_INDEX.fullmatch(name)
    if short and name not in NUMBER_NAMES:
        symbol, index = short.groups()
        symbol = symbol if len(symbol) == 1 else f"\\{symbol}"
        return f"{symbol}_{{{index}}}" if index else symbol
    if re.fullmatch("[0-9]+", name):
        return f"{letter}_{{{name}}}"
    parts = re.findall(rf"{UPRIGHT.pattern}|.", re.sub(r"\s", " ", name))
    written = [
        ESCAPES.get(part) or (part if UPRIGHT.fullmatch(part) else rf"\text{{{part}}}")
        for part in parts
    ]
    upright = rf"\mathrm{{{''.join(written)}}}"
    return upright if name[:1].isalpha() else f"{letter}_{{{upright}}}"
