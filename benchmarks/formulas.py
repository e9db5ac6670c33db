"""Are laws recovered from data alone? Formula, error of its constants, hits, seconds.

    python benchmarks/formulas.py [--seeds 5] [--rows 1000] [--laws product root]
    python benchmarks/formulas.py --structures [--noise 0.01]

Rows are uniform on the domain of a law. But for the width of the network all is at its
defaults. A seed draws the rows, the noise and the starting weights. The expression
found and the law are brought to the same form by sympy and compared number by number: a
hit is a formula of the same structure whose constants are off by less than 1e-3 (by
less than the noise of the law, where it has some). RMSE is on as many further rows,
against the law without noise, relative to the deviation of the target.

With `--structures` nothing is given: `SymbolicKANRegressor(random_state=seed)` finds
the structure of 20 other laws. Hits are closed forms that differ from the law by less
than 1e-6 of its range (by less than the noise) on 10,000 further rows.
"""

import argparse
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor
from skkan.symbolic import SymbolicKANRegressor, fit_symbolic, named_splines, to_sympy

x0, x1, x2 = sympy.symbols("x0:3")
BAR = 1e-3  # of a constant without noise
MOST_MATCHED = 6  # terms of a sum whose order is tried out


@dataclass(frozen=True)
class Law:
    """A function to be recovered."""

    expression: sympy.Expr
    function: Callable  # of the columns
    low: float
    high: float
    n_inputs: int
    width: tuple
    noise: float = 0.0  # of the deviation of the target

    def rows(self, n_rows, rng):
        """Inputs, and the target with and without noise."""
        X = rng.uniform(self.low, self.high, (n_rows, self.n_inputs))
        y = self.function(*X.T)
        return X, y + self.noise * y.std() * rng.normal(size=n_rows), y


LAWS = {
    "composition": Law(
        sympy.exp(sympy.sin(sympy.pi * x0) + x1**2),
        lambda a, b: np.exp(np.sin(np.pi * a) + b**2),
        *(-1, 1, 2, (1,)),
    ),
    "product": Law(x0 * x1, lambda a, b: a * b, -1, 1, 2, (2,)),
    "logarithms": Law(x0 * x1, lambda a, b: a * b, 0.2, 2, 2, (1,)),
    "root": Law(sympy.sqrt(x0**2 + x1**2), np.hypot, -1, 1, 2, (1,)),
    "density": Law(
        sympy.exp(-(x0**2) / 2) / sympy.sqrt(2 * sympy.pi),
        lambda a: np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi),
        *(-3, 3, 1, ()),
    ),
    "noisy sum": Law(
        sympy.sin(x0) + x1**2 + 3 * x2,
        lambda a, b, c, *_: np.sin(a) + b**2 + 3 * c,
        *(-1, 1, 5, (), 0.01),
    ),
    "quotient": Law(1 / (1 + x0 * x1), lambda a, b: 1 / (1 + a * b), 0.2, 1, 2, (1,)),
}


P, TURN = (0.2, 1.0), (0.0, 2 * np.pi)
# Laws whose structure is to be found: the function of the columns, and their ranges.
STRUCTURES = {
    "x0/x1": (lambda a, b: a / b, P, (0.5, 2)),
    "x0 exp(-x1)": (lambda a, b: a * np.exp(-b), P, (0, 2)),
    "x0 x1^2/2": (lambda a, b: a * b**2 / 2, P, P),
    "sqrt(x0^2 + x1^2)": (np.hypot, P, P),
    "1 + x0 sin(x1)": (lambda a, b: 1 + a * np.sin(b), P, TURN),
    "x0 (1/x1 - 1)": (lambda a, b: a * (1 / b - 1), P, (0.3, 1)),
    "(1 - x0)/sqrt(1 - x1^2)": (lambda a, b: (1 - a) / np.sqrt(1 - b**2), P, (0, 0.8)),
    "(x0 + x1)/(1 + x0 x1)": (lambda a, b: (a + b) / (1 + a * b), P, P),
    "1/(1 + x0 x1)": (lambda a, b: 1 / (1 + a * b), P, P),
    "arcsin(x0 sin(x1))": (
        lambda a, b: np.arcsin(a * np.sin(b)),
        (0.1, 0.9),
        (-1.2, 1.2),
    ),
    "1 + x0 + 2 sqrt(x0) cos(x1)": (
        lambda a, b: 1 + a + 2 * np.sqrt(a) * np.cos(b),
        P,
        TURN,
    ),
    "x0 log(x1)": (lambda a, b: a * np.log(b), P, (0.5, 3)),
    "cos(x0) + x1 cos(x0)^2": (
        lambda a, b: np.cos(a) + b * np.cos(a) ** 2,
        TURN,
        P,
    ),
    "(x0 - 1) x1": (lambda a, b: (a - 1) * b, P, P),
    "x2 sqrt(x0^2 + x1^2)": (lambda a, b, c: c * np.hypot(a, b), P, P, P),
    "x0 (1 + x1 cos(x2))": (lambda a, b, c: a * (1 + b * np.cos(c)), P, P, TURN),
    "x0/(exp(x1) + exp(-x1))": (lambda a, b: a / (2 * np.cosh(b)), P, (-2, 2)),
    "normal density": (
        lambda a, b: np.exp(-((a / b) ** 2) / 2) / np.sqrt(2 * np.pi * b**2),
        (-1, 1),
        (0.5, 1.5),
    ),
    "sqrt(1 + x0^2 + x1^2)": (lambda a, b: np.sqrt(1 + a**2 + b**2), P, P),
    "x0 x1 x2": (lambda a, b, c: a * b * c, P, P, P),
}


def found_structure(name, n_rows, seed, noise):
    """Model, largest error as a share of the law's range, and seconds of one core."""
    law, *ranges = STRUCTURES[name]
    rng = np.random.default_rng(seed)
    low, high = np.transpose(ranges)
    X = rng.uniform(low, high, (n_rows, len(ranges)))
    X_test = rng.uniform(low, high, (10_000, len(ranges)))
    y, y_test = law(*X.T), law(*X_test.T)
    y = y + noise * y.std() * rng.normal(size=n_rows)
    start = time.process_time()
    model = SymbolicKANRegressor(random_state=seed).fit(X, y)
    seconds = time.process_time() - start
    error = np.abs(model.predict(X_test) - y_test).max() / np.ptp(y_test)
    return model, error, seconds


def print_structures(n_rows, seeds, noise):
    """One row of a table for each law."""
    print_row("law", "hits", "largest error", "complexity", "seconds", "found")
    print_row(":---", *["---:"] * 4, ":---")
    for name in STRUCTURES:
        models, errors, seconds = zip(
            *(found_structure(name, n_rows, seed, noise) for seed in range(seeds)),
            strict=True,
        )
        closed = [not named_splines(to_sympy(model)) for model in models]
        hits = [c and e < max(1e-6, noise) for c, e in zip(closed, errors, strict=True)]
        found = {str(to_sympy(model, round_to=4)) for model in models}
        sizes = [model.formulas_[model.index_].complexity for model in models]
        print_row(
            name,
            f"{sum(hits)}/{len(hits)}",
            f"{max(errors):.0e}",
            max(sizes),
            f"{max(seconds):.0f}",
            "; ".join(sorted(found)),
        )


def forms(expression):
    """The expression in several forms, with numbers for constants."""
    simple = sympy.simplify(expression)
    for form in (expression, sympy.expand(expression), simple, sympy.expand(simple)):
        yield sympy.N(form)


def difference(found, law):
    """Largest difference of the constants of two expressions; inf if they differ."""
    if not found.free_symbols and not law.free_symbols:
        return abs(float(found) - float(law))
    if found == law:
        return 0.0
    if found.func != law.func or len(found.args) != len(law.args) or not found.args:
        return with_factor(found, law)
    if not (found.is_Add or found.is_Mul):
        return max(map(difference, found.args, law.args))
    if len(found.args) > MOST_MATCHED:
        return np.inf
    return min(
        max(map(difference, order, law.args))
        for order in itertools.permutations(found.args)
    )


def with_factor(found, law):
    """The same where only one of the two shows a factor, since the other's is 1."""
    one, several = found.as_coeff_Mul(), law.as_coeff_Mul()
    if (one[0] == 1) == (several[0] == 1):
        return np.inf
    return max(abs(float(one[0] - several[0])), difference(one[1], several[1]))


def constants_error(found, law):
    """Difference of the constants in those forms that agree best."""
    return min(difference(a, b) for a, b in itertools.product(forms(found), forms(law)))


def recover(law, n_rows, seed):
    """Expression, error of its constants, relative RMSE, seconds of both fits."""
    rng = np.random.default_rng(seed)
    X, y, _ = law.rows(n_rows, rng)
    start = time.perf_counter()
    network = KANRegressor(law.width, random_state=seed).fit(X, y)
    middle = time.perf_counter()
    model = fit_symbolic(network, X, y)
    end = time.perf_counter()
    X_test, _, y_test = law.rows(n_rows, rng)
    rmse = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)) / y_test.std()
    expression = to_sympy(model)
    error = constants_error(expression, law.expression)
    return expression, error, rmse, middle - start, end - middle


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--laws", nargs="+", default=list(LAWS), choices=list(LAWS))
    parser.add_argument("--structures", action="store_true")
    parser.add_argument("--noise", type=float, default=0.0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if arguments.structures:
        print_structures(arguments.rows, arguments.seeds, arguments.noise)
        return
    print_row(
        *("law", "hits", "constants off by", "test RMSE", "network", "formula", "found")
    )
    print_row(*["---:"] * 6, ":---")
    for name in arguments.laws:
        law = LAWS[name]
        runs = [recover(law, arguments.rows, seed) for seed in range(arguments.seeds)]
        expressions, errors, rmses, *seconds = zip(*runs, strict=True)
        n_hits = sum(error < max(BAR, law.noise) for error in errors)
        found = {str(sympy.N(sympy.simplify(e), 4)) for e in expressions}
        print_row(
            name,
            f"{n_hits}/{len(runs)}",
            f"{max(errors):.0e}",
            f"{max(rmses):.0e}",
            *(f"{statistics.median(times):.1f} s" for times in seconds),
            "; ".join(sorted(found)),
        )


if __name__ == "__main__":
    main()
