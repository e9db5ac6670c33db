"""Millions of rows: the time, the memory and the error of default fits.

    python benchmarks/large.py [--rows 1e6] [--columns 10] [--laws friedman mixed]
        [--models KAN HistGB] [--memory-map] [--noise 0.2]

Targets are a law of the columns plus normal noise, in deviations of the law; errors are
RMSE against the law itself on further rows, relative to its deviation. Each fit runs in
a process of its own, with as many threads as it takes by itself. Memory is the peak of
that process beyond what it held with the data; with --memory-map the data lie in a file
that is mapped for reading, and the pages of it in use count, too. Rows are made in
chunks.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from skkan import KANRegressor

CHUNK = 100_000  # rows that are made at a time
N_TEST = 100_000
MODELS = {"KAN": KANRegressor, "HistGB": HistGradientBoostingRegressor}


def friedman(X):
    """Five columns, of which two interact (J. Friedman, 1991)."""
    x = X.T
    wave, bow = np.sin(np.pi * x[0] * x[1]), (x[2] - 0.5) ** 2
    return 10 * wave + 20 * bow + 10 * x[3] + 5 * x[4]


def mixed(X):
    """Ten columns in pairs, with kinks and a fast oscillation."""
    x = X.T
    total = np.sin(2 * np.pi * x[0] * x[1]) * x[2] + np.exp(x[3] * x[4])
    total = total + np.abs(x[5] - x[6]) + np.maximum(x[7], x[8])
    return total + np.sin(9 * x[9] * x[0])


LAWS = {"friedman": friedman, "mixed": mixed}


def fill(X, y, law, noise, seed):
    """Make rows in chunks, each from a seed of its own."""
    for index, start in enumerate(range(0, len(X), CHUNK)):
        rows = slice(start, start + CHUNK)
        rng = np.random.default_rng([seed, index])
        X[rows] = rng.uniform(size=X[rows].shape)
        y[rows] = law(X[rows])
        if index == 0:
            deviation = y[rows].std()
        y[rows] += noise * deviation * rng.normal(size=len(y[rows]))
    return deviation


def training_rows(args, law, folder):
    """X and y, in memory or mapped from files."""
    shape = (args.rows, args.columns)
    if not args.memory_map:
        X, y = np.empty(shape), np.empty(args.rows)
        fill(X, y, law, args.noise, seed=0)
        return X, y
    paths = [Path(folder) / name for name in ("X.npy", "y.npy")]
    arrays = [
        np.lib.format.open_memmap(path, "w+", np.float64, size)
        for path, size in zip(paths, (shape, shape[:1]), strict=True)
    ]
    fill(*arrays, law, args.noise, seed=0)
    del arrays
    return [np.load(path, mmap_mode="r") for path in paths]


def peak_memory():
    """Peak resident memory of this process so far, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def measure(args, law_name, model_name):
    """Seconds of a fit, memory beyond the data in GB, relative error, structure."""
    law, make = LAWS[law_name], MODELS[model_name]
    X_test, y_test = np.empty((N_TEST, args.columns)), np.empty(N_TEST)
    deviation = fill(X_test, y_test, law, 0.0, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        X, y = training_rows(args, law, folder)
        make().fit(X[:200], y[:200])  # loads what is loaded once
        before = peak_memory()
        start = time.perf_counter()
        model = make(random_state=0).fit(X, y)
        seconds = time.perf_counter() - start
        memory = peak_memory() - before
    error = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)) / deviation
    return seconds, memory, error, getattr(model, "hidden_layer_sizes_", "")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=float, default=1e6)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=[*LAWS])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--memory-map", action="store_true")
    parser.add_argument("--noise", type=float, default=0.2)
    args = parser.parse_args()
    args.rows = int(args.rows)
    print(f"{args.rows} rows x {args.columns}, noise {args.noise}")
    print("| law | model | fit [s] | memory [GB] | error | hidden |")
    print("| --- | --- | ---: | ---: | ---: | --- |")
    context = multiprocessing.get_context("spawn")
    for law in args.laws:
        for model in args.models:
            with context.Pool(1) as pool:
                seconds, memory, error, hidden = pool.apply(measure, (args, law, model))
            row = f"{seconds:.0f} | {memory:.2f} | {error:.4f} | {hidden}"
            print(f"| {law} | {model} | {row} |", flush=True)


if __name__ == "__main__":
    main()
