"""Did a change keep the fits? Refits configurations and compares with a saved run.

    python benchmarks/refits.py --save before.npz
    python benchmarks/refits.py --compare before.npz [--tolerance 1e-9]

Save before a change, compare after it, on the same machine and with the same packages.
Sums differ in their last bits between processors, and iterations amplify them. The
configurations cover solvers, losses, structures and kinds of data. They use the public
API and one thread.

The table shows the largest differences of predictions on further rows, of
probabilities, of `return_std`, of importances, of the loss curve and of other fitted
attributes (structure, `alpha_`, noise, evidence). Each is relative to the largest
absolute value before. Loss curves and `alpha_` span decades: there it is relative to
each element. The exit status is 1 if a difference exceeds the tolerance, that of
`n_iter_` included. Seconds are processor time of the fit.
"""

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
import pandas as pd
import scipy
import sklearn
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_friedman1,
)
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import Adam
from skkan.symbolic import SymbolicKANRegressor

MANY = 120_000  # rows, more than the 100,000 above which sums go piece by piece
N_BATCHES = 4  # of partial_fit
ENVIRONMENT = "environment"  # its key in a file
ATTRIBUTES = {
    "importances": ["feature_importances_"],
    "loss curve": ["loss_curve_"],
    "other": [
        "hidden_layer_sizes_",
        "grid_size_",
        "alpha_",
        "noise_std_",
        "dispersion_",
        "log_evidence_",
        "n_effective_parameters_",
        "validation_loss_curve_",
        "cost_",
        "n_refits_",
    ],
    "n_iter": ["n_iter_"],
}
COLUMNS = ["predictions", "probabilities", "std", *ATTRIBUTES]
SPAN_DECADES = {"loss_curve_", "validation_loss_curve_", "alpha_"}


class Rows(NamedTuple):
    """Rows to fit, further ones to predict, and further arguments of `fit`."""

    X: object
    y: np.ndarray
    X_new: object
    metadata: dict


def split(X, y, n_rows=None, **metadata):
    """Two of three rows to fit, perhaps of a subsample, and one to predict."""
    order = np.random.default_rng(0).permutation(len(y))[:n_rows]
    fitted, new = np.split(order, [2 * len(order) // 3])
    metadata = {name: value[fitted] for name, value in metadata.items()}
    return Rows(X[fitted], y[fitted], X[new], metadata)


def friedman(n_rows=200, noise=1.0, n_features=6):
    return split(
        *make_friedman1(n_rows, n_features=n_features, noise=noise, random_state=0)
    )


def many_friedman():
    X, y = make_friedman1(MANY, n_features=5, noise=1.0, random_state=0)
    X = X[:, [0, 1, 3]].copy()
    return Rows(X, y, X[:1000], {})


def many_in_chunks():
    rows = many_friedman()
    X = da.from_array(rows.X, chunks=(50_000, 3))
    return rows._replace(X=X, y=da.from_array(rows.y, chunks=50_000))


def precise_law():
    X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    return split(X, np.exp(np.sin(np.pi * X[:, 0]) + X[:, 1] ** 2))


def formula():
    X = np.random.default_rng(0).uniform(-1, 1, (150, 2))
    return split(X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2)


def diabetes():
    return split(*load_diabetes(return_X_y=True))


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return split(X[:, :6], y, n_rows=240)


def iris():
    return split(*load_iris(return_X_y=True))


def digits():
    return split(*load_digits(n_class=4, return_X_y=True), n_rows=240)


def product():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 3))
    return split(X, X[:, 0] * X[:, 1] + 0.1 * rng.standard_normal(300))


def checkerboard():
    rows = product()
    return rows._replace(y=rows.y > 0)


def counts():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 3))
    return split(X, rng.poisson(np.exp(np.sin(2 * X[:, 0]) + X[:, 1])).astype(float))


def positive():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 3))
    return split(X, rng.gamma(4.0, np.exp(np.sin(2 * X[:, 0]) + X[:, 1])))


def outliers():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 3))
    return split(X, np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_cauchy(200))


def missing_cells():
    rows = friedman()
    rng = np.random.default_rng(0)
    X, X_new = (np.where(rng.random(x.shape) < 0.1, np.nan, x) for x in rows[::2])
    return rows._replace(X=X, X_new=X_new)


def categories():
    rows = friedman()

    def frame(X):
        frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
        codes = np.floor(4 * X[:, 3]).astype(int)
        return frame.assign(x3=pd.Categorical.from_codes(codes, list("abcd")))

    return rows._replace(X=frame(rows.X), X_new=frame(rows.X_new))


def weighted():
    X, y = make_friedman1(200, n_features=6, noise=1.0, random_state=0)
    weight = np.random.default_rng(0).integers(0, 4, 200).astype(float)
    return split(X, y, sample_weight=weight)


def validated():
    rows = friedman(300)
    X, X_val = rows.X[:130], rows.X[130:]
    metadata = {"X_val": X_val, "y_val": rows.y[130:]}
    return Rows(X, rows.y[:130], rows.X_new, metadata)


def two_targets():
    X, y = make_friedman1(200, n_features=6, noise=1.0, random_state=0)
    return split(X, np.column_stack([y, X[:, 0] ** 2 - X[:, 5]]))


def two_labels():
    X, y = make_friedman1(200, n_features=6, noise=1.0, random_state=0)
    return split(X, np.column_stack([y > 14, X[:, 0] > X[:, 5]]).astype(int))


def fit(model, rows):
    model.fit(rows.X, rows.y, **rows.metadata)


def fit_warm(model, rows, **settings):
    """A second fit, which goes on from the first under other settings."""
    model.fit(rows.X, rows.y)
    model.set_params(warm_start=True, **settings).fit(rows.X, rows.y)


def fit_batches(model, rows):
    classes = {"classes": np.unique(rows.y)} if is_classifier(model) else {}
    for batch in np.array_split(np.arange(len(rows.y)), N_BATCHES):
        model.partial_fit(rows.X[batch], rows.y[batch], **classes)


def fit_chunks(model, rows):
    with dask.config.set(scheduler="threads"):
        fit(model, rows)


class Configuration(NamedTuple):
    """What is fitted to what, and how."""

    model: object
    rows: Callable
    train: Callable = fit


regressor = partial(KANRegressor, random_state=0)
classifier = partial(KANClassifier, random_state=0)
additive = regressor((), grid_size=5, solver="lm", max_iter=30)

CONFIGURATIONS = {
    "auto, additive": Configuration(regressor(), diabetes),
    "auto, ensemble": Configuration(regressor(), friedman),
    "auto, one network": Configuration(regressor(), precise_law),
    "auto, two classes": Configuration(classifier(), cancer),
    "auto, classes": Configuration(classifier(), iris),
    "auto, ensemble of classes": Configuration(classifier(), checkerboard),
    "auto, many weights": Configuration(classifier(), digits),
    "auto, early stopping": Configuration(regressor(early_stopping=True), validated),
    "auto, warm start": Configuration(regressor(), product, fit_warm),
    "lm": Configuration(regressor((4,), solver="lm"), friedman),
    "lm, skip": Configuration(
        regressor((3,), solver="lm", additive_skip=True), friedman
    ),
    "lm, two layers": Configuration(regressor((3, 2), solver="lm"), friedman),
    "lm, schedule": Configuration(
        regressor((3,), grid_size=3, grid_schedule=(6, 12), solver="lm"), friedman
    ),
    "lm, other splines": Configuration(
        regressor(
            (3,),
            spline_order=2,
            grid_eps=0.3,
            base_activation="identity",
            extrapolation="linear",
            solver="lm",
            alpha=1e-3,
        ),
        friedman,
    ),
    "lbfgs": Configuration(regressor((4,), solver="lbfgs"), friedman),
    "adam": Configuration(regressor((4,), solver="adam", max_iter=60), friedman),
    "poisson, lm": Configuration(regressor((3,), loss="poisson", solver="lm"), counts),
    "poisson, lbfgs": Configuration(
        regressor((3,), loss="poisson", solver="lbfgs"), counts
    ),
    "gamma, lm": Configuration(regressor((3,), loss="gamma", solver="lm"), positive),
    "gamma, adam": Configuration(
        regressor((3,), loss="gamma", solver=Adam(batch_size=32), max_iter=60),
        positive,
    ),
    "huber, lm": Configuration(regressor((3,), loss="huber", solver="lm"), outliers),
    "quantile, lm": Configuration(
        regressor((3,), loss="quantile", quantile=0.8, solver="lm"), outliers
    ),
    "quantile, lbfgs": Configuration(
        regressor((3,), loss="quantile", quantile=0.2, solver="lbfgs"), outliers
    ),
    "two classes, lm": Configuration(
        classifier((3,), class_weight="balanced", solver="lm"), cancer
    ),
    "classes, lm": Configuration(classifier((3,), solver="lm"), iris),
    "classes, lbfgs": Configuration(
        classifier((3,), class_weight={0: 1, 1: 2, 2: 3}, solver="lbfgs"), iris
    ),
    "labels, lm": Configuration(classifier((3,), solver="lm"), two_labels),
    "two targets": Configuration(regressor((3,), solver="lm"), two_targets),
    "missing cells": Configuration(regressor((3,), solver="lm"), missing_cells),
    "categories": Configuration(regressor((3,), solver="lm"), categories),
    "weights": Configuration(regressor((3,), solver="lm"), weighted),
    "warm start": Configuration(
        regressor((3,), solver="lm"), friedman, partial(fit_warm, grid_size=10)
    ),
    "batches": Configuration(regressor((4,)), friedman, fit_batches),
    "batches, classes": Configuration(classifier((4,)), iris, fit_batches),
    "pruned by evidence": Configuration(
        regressor((3,), solver="lm", prune_threshold="auto"), friedman
    ),
    "pruned by scores": Configuration(
        regressor((3,), solver="lbfgs", prune_threshold=0.01), friedman
    ),
    "sparsity": Configuration(
        regressor((3,), penalty=SparsityPenalty(1e-3), solver="lbfgs"), friedman
    ),
    "early stopping": Configuration(
        regressor((4,), solver="lbfgs", early_stopping=True), validated
    ),
    "many rows": Configuration(additive, many_friedman),
    "chunks": Configuration(additive, many_in_chunks, fit_chunks),
    "formula": Configuration(
        SymbolicKANRegressor(regressor((), solver="lm"), max_refits=60), formula
    ),
}


def measured(configuration):
    """Quantities of a fit by name, dict of ndarray; "seconds" is one of them."""
    rows, model = configuration.rows(), clone(configuration.model)
    start = time.process_time()
    configuration.train(model, rows)
    found = {"seconds": time.process_time() - start}
    found["predictions"] = model.predict(rows.X_new)
    if is_classifier(model):
        found["probabilities"] = model.predict_proba(rows.X_new)
    if hasattr(model, "noise_std_"):
        found["std"] = model.predict(rows.X_new, return_std=True)[1]
    for names in ATTRIBUTES.values():
        for name in names:
            if getattr(model, name, None) is not None:
                found[name] = getattr(model, name)
    return {name: np.asarray(value, dtype=float) for name, value in found.items()}


def difference(name, now, before):
    """Largest relative difference of a quantity; infinite if its shape has changed."""
    if name not in now or name not in before or now[name].shape != before[name].shape:
        return np.inf
    now, before = now[name], before[name]
    if np.array_equal(now, before, equal_nan=True):
        return 0.0
    size = np.abs(before)
    scale = size if name in SPAN_DECADES else size.max()
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(now == before, 0.0, np.abs(now - before) / scale)
    return float(np.where(np.isnan(relative), np.inf, relative).max())


def differences(now, before):
    """Largest difference of each column of the table that has any quantity."""
    found = {}
    for column in COLUMNS:
        names = ATTRIBUTES.get(column, [column])
        names = [name for name in names if name in now or name in before]
        if names:
            found[column] = max(difference(name, now, before) for name in names)
    return found


def environment():
    """What two runs must share to be compared, in one line."""
    packages = {"numpy": np, "scipy": scipy, "scikit-learn": sklearn, "torch": torch}
    versions = [f"{name} {package.__version__}" for name, package in packages.items()]
    processor = platform.machine(), torch.backends.cpu.get_cpu_capability()
    return ", ".join([*processor, *versions])


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_head(*names):
    print_row(*names)
    print_row("---", *["---:"] * (len(names) - 1))


def save(path, names):
    """Save the quantities of configurations, and print their seconds."""
    arrays = {ENVIRONMENT: np.asarray(environment())}
    print_head("configuration", "n_iter", "seconds")
    for name in names:
        found = measured(CONFIGURATIONS[name])
        print_row(name, iterations(found), f"{found['seconds']:.2f}")
        arrays.update({f"{name}/{key}": value for key, value in found.items()})
    np.savez_compressed(path, **arrays)


def load(path):
    """The environment of a saved run, and its quantities by configuration."""
    with np.load(path) as file:
        arrays = dict(file)
    environment_before, by_name = str(arrays.pop(ENVIRONMENT)), {}
    for key, value in arrays.items():
        name, quantity = key.split("/")
        by_name.setdefault(name, {})[quantity] = value
    return environment_before, by_name


def iterations(found):
    return int(found["n_iter_"]) if "n_iter_" in found else ""


def compare(path, names, tolerance):
    """Print the differences from a saved run; returns whether all are small."""
    environment_before, saved = load(path)
    if environment_before != environment():
        print(f"Other environment: saved with {environment_before},")
        print(f"this is {environment()}\n")
    seconds = "s before", "s now"
    print_head("configuration", *COLUMNS[:-1], "n_iter", *seconds, "verdict")
    differing = []
    for name in names:
        if name not in saved:
            print_row(name, *[""] * (len(COLUMNS) + 2), "not saved")
            continue
        before, now = saved[name], measured(CONFIGURATIONS[name])
        found = differences(now, before)
        largest = max(found.values())
        verdict = "same bits" if largest == 0 else "close"
        if largest > tolerance:
            verdict = "DIFFERS"
            differing.append(name)
        cells = [f"{found[key]:.1e}" if key in found else "" for key in COLUMNS[:-1]]
        steps = dict.fromkeys([iterations(before), iterations(now)])
        times = [f"{run['seconds']:.2f}" for run in (before, now)]
        print_row(name, *cells, " -> ".join(map(str, steps)), *times, verdict)
    print(f"\nDiffering by more than {tolerance:g}: {'; '.join(differing) or 'none'}")
    return not differing


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--save", metavar="FILE.npz", type=Path)
    task.add_argument("--compare", metavar="FILE.npz", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-9)
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, metavar="NAME")
    arguments = parser.parse_args()
    names = arguments.only or [*CONFIGURATIONS]
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        if arguments.save:
            save(arguments.save, names)
        elif not compare(arguments.compare, names, arguments.tolerance):
            sys.exit(1)


if __name__ == "__main__":
    main()
