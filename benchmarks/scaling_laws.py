"""How does the error fall with the grid? Errors and times on the law of the KAN paper.

    python benchmarks/scaling_laws.py [--sizes 100 3000] [--grids 5 10] [--seeds 5]
    python benchmarks/scaling_laws.py --peer pykan --peer-python PATH
    python benchmarks/scaling_laws.py --seed-study 20

The law is exp(sin(pi x1) + x2^2) on [-1, 1]^2 without noise; the network is [2, 1, 1]
with cubic splines, and its grid is refined from fit to fit. Errors are RMSE on 3000
further rows; a seed draws the rows and the starting weights. Times are wall-clock of
`fit` on one thread. Sums run over the grids. Compare within a run, not runs on
different machines.

The peer gets the rows of the first seed in float64 and takes 50 steps of L-BFGS on each
grid; ratios are to skkan's fits to the same rows. Its `fit` contains a look at the test
rows in every step, skkan's the refinement. Its interpreter (with pykan 0.2.8) is the
one at PATH, and needs no skkan.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor

N_TEST = 3000
STUDY_ROWS, STUDY_GRID = 1000, 5
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB")
}

# Runs in the other interpreter, in a folder of its own because pykan writes files.
PYKAN = """
import sys
import time

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
from kan import KAN

data = np.load(sys.argv[1])
dataset = {
    "train_input": torch.from_numpy(data["X"]),
    "train_label": torch.from_numpy(data["y"])[:, None],
    "test_input": torch.from_numpy(data["X_test"]),
    "test_label": torch.from_numpy(data["y_test"])[:, None],
}
grids = data["grids"].tolist()
model = KAN(
    width=[2, 1, 1],
    grid=grids[0],
    k=3,
    scale_base_mu=1,
    scale_base_sigma=0.1,
    seed=int(data["seed"]),
    auto_save=False,
)
seconds, predictions = [], []
for grid in grids:
    if grid != grids[0]:
        model = model.refine(grid)
        model.auto_save = False  # a refined model saves again
    start = time.perf_counter()
    model.fit(dataset, opt="LBFGS", steps=50)
    seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        predictions.append(model(dataset["test_input"])[:, 0].numpy())
np.savez(sys.argv[2], seconds=seconds, predictions=predictions)
"""


def make_law(n_rows, seed):
    """Rows to fit and to test, without noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n_rows + N_TEST, 2))
    y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2)
    return X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]


def rmse(predicted, y):
    return np.sqrt(np.mean((predicted - y) ** 2, axis=-1))


def run_skkan(n_rows, grids, seed):
    """Errors and seconds, one of each per grid."""
    X, y, X_test, y_test = make_law(n_rows, seed)
    model = KANRegressor((1,), warm_start=True, random_state=seed)
    errors, seconds = [], []
    for grid in grids:
        model.set_params(grid_size=grid)
        start = time.perf_counter()
        model.fit(X, y)
        seconds.append(time.perf_counter() - start)
        errors.append(rmse(model.predict(X_test), y_test))
    return np.array(errors), np.array(seconds)


def run_pykan(n_rows, grids, seed, python):
    """Errors and seconds of the peer, one of each per grid."""
    X, y, X_test, y_test = make_law(n_rows, seed)
    with tempfile.TemporaryDirectory() as folder:
        data, result = Path(folder, "data.npz"), Path(folder, "result.npz")
        np.savez(data, X=X, y=y, X_test=X_test, y_test=y_test, grids=grids, seed=seed)
        done = subprocess.run(
            [Path(python).absolute(), "-c", PYKAN, data, result],
            cwd=folder,
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2]
            sys.exit(f"The peer {python} failed: {reason}")
        with np.load(result) as results:
            return rmse(results["predictions"], y_test), results["seconds"]


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_figures(n_rows, name, values, total, form):
    """A row of the table: a figure per grid, and over all grids."""
    print_row(n_rows, name, *(format(value, form) for value in (*values, total)))


def print_skkan(n_rows, runs):
    errors, seconds = (np.array(part) for part in zip(*runs, strict=True))
    for name, over_seeds in {"median": np.median, "worst": np.max}.items():
        total = over_seeds(errors.sum(axis=1))
        print_figures(n_rows, f"RMSE, {name}", over_seeds(errors, 0), total, ".1e")
    for name, over_seeds in {"median": np.median, "worst": np.max}.items():
        total = over_seeds(seconds.sum(axis=1))
        print_figures(n_rows, f"seconds, {name}", over_seeds(seconds, 0), total, ".2f")


def print_peer(n_rows, ours, theirs):
    """Rows of the peer, and ratios to the fits of the first seed."""
    for name, own, other, form in zip(
        ("RMSE", "seconds"), ours, theirs, (".1e", ".2f"), strict=True
    ):
        print_figures(n_rows, f"{name}, pykan", other, other.sum(), form)
        ratio, total = other / own, other.sum() / own.sum()
        print_figures(n_rows, f"{name}, pykan / skkan", ratio, total, ".3g")


def print_scaling(arguments):
    grids = arguments.grids
    print(
        f"Settings: KANRegressor((1,), warm_start=True), seeds: {arguments.seeds}, "
        f"{N_TEST} test rows, peer: {arguments.peer}\n"
    )
    print_row("rows", "figure", *(f"G={grid}" for grid in grids), "sum")
    print_row(*["---"] * 2, *["---:"] * (len(grids) + 1))
    for n_rows in arguments.sizes:
        runs = [run_skkan(n_rows, grids, 0)]
        if arguments.peer:
            theirs = run_pykan(n_rows, grids, 0, arguments.peer_python)
        runs += [run_skkan(n_rows, grids, seed) for seed in range(1, arguments.seeds)]
        print_skkan(n_rows, runs)
        if arguments.peer:
            print_peer(n_rows, runs[0], theirs)


def print_seed_study(n_states):
    """How many starting weights lead near the best network of one data set."""
    X, y, X_test, y_test = make_law(STUDY_ROWS, 0)
    errors = np.array(
        [
            rmse(
                KANRegressor((1,), grid_size=STUDY_GRID, random_state=state)
                .fit(X, y)
                .predict(X_test),
                y_test,
            )
            for state in range(n_states)
        ]
    )
    print(f"Settings: KANRegressor((1,)), {STUDY_ROWS} rows, grid_size={STUDY_GRID}\n")
    print_row("random states", "within 1.5 x best", "best RMSE", "median", "worst")
    print_row(*["---:"] * 5)
    near = np.sum(errors <= 1.5 * errors.min())
    figures = errors.min(), np.median(errors), errors.max()
    print_row(n_states, near, *(f"{figure:.2e}" for figure in figures))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--grids", type=int, nargs="+", default=[5, 10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer", choices=["pykan"])
    parser.add_argument("--peer-python", metavar="PATH")
    parser.add_argument("--seed-study", type=int, metavar="N")
    arguments = parser.parse_args()
    if arguments.peer and not arguments.peer_python:
        parser.error("--peer needs --peer-python, an interpreter that has it")
    warnings.simplefilter("ignore", ConvergenceWarning)
    if arguments.seed_study:
        print_seed_study(arguments.seed_study)
    else:
        print_scaling(arguments)


if __name__ == "__main__":
    main()
