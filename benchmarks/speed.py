"""How long do default fits take, and how accurate are they? Beside two peers.

    OMP_NUM_THREADS=1 python benchmarks/speed.py [--rows 300 1000] [--columns 5 20]

Targets are smooth functions of the first five columns with one product and noise: its
values for regression, whether it is positive for classes. Shown are the CPU seconds of
a fit, and the R2 or the log loss on 2,000 other rows; both are medians over random
tables, on each of which the models run in turns. The exponents of growth are slopes of
log(seconds) against log(size) between the smallest and the largest size. To compare two
versions of skkan, run both by turns with the same arguments.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkan import KANClassifier, KANRegressor

N_TEST = 2000
MODELS = {
    "KAN": (KANRegressor, KANClassifier),
    "HistGB": (HistGradientBoostingRegressor, HistGradientBoostingClassifier),
    "MLP": (MLPRegressor, MLPClassifier),
}


def random_table(n_rows, n_columns, seed):
    """Rows to fit and to test, and a target of mean zero and deviation one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows + N_TEST, n_columns))
    a, b, c, d, e = X[:, :5].T
    law = np.sin(2 * a) + 0.5 * b**2 + c * d + 0.5 * e
    y = (law - law.mean()) / law.std() + 0.3 * rng.normal(size=len(X))
    return X, (y - y.mean()) / y.std()


def measure(name, X, y, seed):
    """CPU seconds of a fit, and its score on the last rows."""
    is_class = y.dtype == bool
    model = MODELS[name][is_class](random_state=seed)
    if name == "MLP":
        model = make_pipeline(StandardScaler(), model)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[:-N_TEST], y[:-N_TEST])
    seconds = time.process_time() - start
    X, y = X[-N_TEST:], y[-N_TEST:]
    if is_class:
        return seconds, log_loss(y, model.predict_proba(X))
    return seconds, r2_score(y, model.predict(X))


def growth(seconds, sizes):
    """Exponent between the smallest and the largest size."""
    (first, *_, last), (low, *_, high) = seconds, sizes
    return np.log(last / first) / np.log(high / low)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300, 1000, 3000])
    parser.add_argument("--columns", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    records = []
    for task in ("regression", "classes"):
        for n_columns in arguments.columns:
            for n_rows in arguments.rows:
                for seed in range(arguments.repeats):
                    X, y = random_table(n_rows, n_columns, seed)
                    y = y if task == "regression" else y > 0
                    for name in arguments.models:
                        result = measure(name, X, y, seed)
                        records.append((task, n_columns, n_rows, name, *result))
    index = ["task", "columns", "rows"]
    frame = pd.DataFrame(records, columns=[*index, "model", "CPU s", "score"])
    table = frame.pivot_table(index=index, columns="model", aggfunc="median")
    print(table.round(3).to_string())
    for axis, other in (("rows", "columns"), ("columns", "rows")):
        if frame[axis].nunique() > 1:
            exponents = (
                table["CPU s"]
                .groupby(["task", other])
                .agg(
                    lambda of_sizes, axis=axis: growth(
                        of_sizes, of_sizes.index.get_level_values(axis)
                    )
                )
            )
            print(f"\nGrowth with the {axis}\n{exponents.round(2).to_string()}")


if __name__ == "__main__":
    main()
