"""Where does mini-batch Adam overtake L-BFGS? Time and error of default fits by rows.

    python benchmarks/solvers.py [--rows 1000 5000 20000] [--repeats 3]

The law is Friedman's first (10 features, 5 of them without effect) with noise of one
fifth of its deviation. Fits of the two solvers take turns, and medians are printed;
compare the columns of one run, not runs on different machines.
"""

import argparse
import statistics
import time
import warnings

from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor

N_TEST = 5000
NOISE = 1.0


def fit_and_score(solver, n_rows, seed):
    """Seconds, iterations and R2 on noise-free rows of one fit of (5,)."""
    X, y = make_friedman1(n_rows, noise=NOISE, random_state=seed)
    X_test, y_test = make_friedman1(N_TEST, noise=0.0, random_state=seed + 1000)
    model = KANRegressor((5,), solver=solver, random_state=seed)
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start, model.n_iter_, model.score(X_test, y_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'rows':>7} {'solver':>7} {'seconds':>8} {'n_iter':>7} {'R2':>7}")
    for n_rows in arguments.rows:
        runs = {"lbfgs": [], "adam": []}
        for seed in range(arguments.repeats):
            for solver, results in runs.items():
                results.append(fit_and_score(solver, n_rows, seed))
        for solver, results in runs.items():
            seconds, n_iter, score = map(statistics.median, zip(*results, strict=True))
            print(f"{n_rows:7d} {solver:>7} {seconds:8.2f} {n_iter:7.0f} {score:7.4f}")


if __name__ == "__main__":
    main()
