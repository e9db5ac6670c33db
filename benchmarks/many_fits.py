"""Many small fits: what of their seconds is arithmetic, and what is overhead.

    python benchmarks/many_fits.py [--rows 100] [--columns 5] [--fits 20]

Three tables: seconds that `import skkan` adds to those of torch and scikit-learn, in
new processes; seconds of one fit and of predicting one row, and how much of a fit is
spent before and after training; and seconds of a grid search of 100 fits beside those
of the same fits in a loop. Medians; compare within a run.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
import warnings

import joblib
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold

from skkan import KANRegressor

PEERS = "import torch, sklearn.base, sklearn.utils.validation"
TIMER = (
    "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
)
N_IMPORTS = 5
MODELS = {
    "default": KANRegressor(random_state=0),
    "(5,)": KANRegressor((5,), random_state=0),
    "()": KANRegressor((), random_state=0),
}
GRID = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1, 1.0], "grid_size": [3, 5, 8, 10]}
N_FOLDS = 5


def seconds(function, repeats):
    """Median of the seconds that a call takes."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def import_seconds(statement):
    """Median over new processes."""
    command = [sys.executable, "-c", TIMER.format(statement)]
    runs = [subprocess.check_output(command, text=True) for _ in range(N_IMPORTS)]
    return statistics.median(map(float, runs))


def print_imports():
    """What an import adds."""
    without, whole = import_seconds(PEERS), import_seconds(f"{PEERS}; import skkan")
    print("| import | seconds |\n| --- | ---: |")
    print(f"| torch and scikit-learn | {without:.2f} |")
    print(f"| and skkan | {whole - without:+.2f} |\n")


def print_fits(X, y, repeats):
    """Seconds of single fits and predictions."""
    print("| model | fit | of which not training | predict one row |")
    print("| --- | ---: | ---: | ---: |")
    for name, model in MODELS.items():
        fit = seconds(lambda model=model: model.fit(X, y), repeats)
        row = seconds(lambda model=model: model.predict(X[:1]), 10 * repeats)
        shell = KANRegressor((), solver="lbfgs", alpha=1.0, max_iter=1)
        around = seconds(lambda shell=shell: shell.fit(X, y), repeats)
        print(f"| {name} | {fit:.3f} | {around:.3f} | {row:.5f} |", flush=True)
    print()


def print_search(X, y):
    """Seconds of a search, and of its fits one after the other."""
    model, folds = KANRegressor((), random_state=0), KFold(N_FOLDS)
    settings = [
        dict(zip(GRID, v, strict=True)) for v in itertools.product(*GRID.values())
    ]
    splits = list(folds.split(X))

    def loop():
        for setting in settings:
            for train, test in splits:
                model.set_params(**setting).fit(X[train], y[train])
                model.score(X[test], y[test])

    print(f"| {len(settings) * N_FOLDS} fits | seconds |\n| --- | ---: |")
    loop()
    print(f"| in a loop | {seconds(loop, 3):.2f} |")
    for n_jobs in dict.fromkeys([1, joblib.cpu_count()]):
        search = GridSearchCV(model, GRID, cv=folds, n_jobs=n_jobs, refit=False)
        search.fit(X, y)  # starts the workers, which then import
        print(f"| n_jobs={n_jobs} | {seconds(lambda s=search: s.fit(X, y), 3):.2f} |")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--fits", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = make_friedman1(args.rows, args.columns, noise=1.0, random_state=0)
    print(f"{args.rows} rows x {args.columns}, numpy {np.__version__}\n")
    print_imports()
    print_fits(X, y, args.fits)
    print_search(X, y)


if __name__ == "__main__":
    main()
