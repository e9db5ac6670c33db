"""What does a fit of dask arrays take? Seconds by workers, and of one in memory.

    python benchmarks/dask_fit.py [--rows 400000] [--fits lm default] [--repeats 1]

Workers are processes of one thread each, and the fit in memory has one thread, too.
Rows are on the workers before the clock starts. The last column is the greatest
difference of predictions from those of the fit in memory, relative to the spread of
the target. Fits take turns, so that other work on the machine meets all alike. The part
of a fit that is done on few rows is done by the client, whatever the workers.
"""

import argparse
import statistics
import time
import warnings

import dask.array as da
import numpy as np
import torch
from distributed import Client, LocalCluster
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor

FITS = {
    "lm": {"hidden_layer_sizes": (5,), "solver": "lm"},
    "lm, alpha=1e-5": {"hidden_layer_sizes": (5,), "solver": "lm", "alpha": 1e-5},
    "lbfgs": {"hidden_layer_sizes": (5,), "solver": "lbfgs", "max_iter": 100},
    "default": {},
}
N_CHUNKS, N_TESTED = 8, 20_000


def fitted(settings, X, y, n_workers):
    """A fitted model, and the seconds that it took."""
    model = KANRegressor(random_state=0, **settings)
    if not n_workers:
        return timed(model, X, y)
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=None,
        ) as cluster,
        Client(cluster),
    ):
        length = -(-len(X) // N_CHUNKS)
        return timed(
            model,
            da.from_array(X, chunks=(length, X.shape[1])).persist(),
            da.from_array(y, chunks=length).persist(),
        )


def timed(model, X, y):
    begin = time.perf_counter()
    model.fit(X, y)
    return model, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--fits", nargs="+", choices=FITS, default=["lm", "default"])
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "Sending large graph")  # of rows made here
    X, y = make_friedman1(arguments.rows, n_features=10, noise=1.0, random_state=0)
    print("| fit | workers | median seconds | difference |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    for name in arguments.fits:
        seconds, predicted = {0: [], 1: [], 2: []}, {}
        for _ in range(arguments.repeats):
            for n_workers in seconds:
                model, spent = fitted(FITS[name], X, y, n_workers)
                seconds[n_workers].append(spent)
                predicted[n_workers] = model.predict(X[:N_TESTED])
        for n_workers, spent in seconds.items():
            difference = np.abs(predicted[n_workers] - predicted[0]).max() / y.std()
            median = statistics.median(spent)
            where = n_workers or "in memory"
            print(f"| {name} | {where} | {median:.1f} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
