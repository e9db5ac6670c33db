"""How good are default networks on ordinary tables? Beside what else one might take.

    python benchmarks/tabular.py [--data FOLDER] [--tables diabetes] [--models KAN MLP]
    python benchmarks/tabular.py --results runs.jsonl --picture runs.png

Five-fold cross-validation, shuffled (and stratified for classes), once per seed, which
also starts the models. FOLDER holds tables as NAME.csv.gz and an index.json that tells
of each NAME its "target" and its "task" (regression or classification); without it the
tables are those that scikit-learn brings along. Larger tables are cut to a random
subset of `--max-rows`, the same for all models.

All models get the same columns: medians for missing numbers, numbers without variation
left out, categories one-hot (a missing one is a category, an unknown one is none),
numbers and the target standardised where a model does not do so itself. Parameters are
the defaults, but for verbosity and threads; and since the default kernel of Gaussian
processes is fixed and without noise, they learn scale, one length and noise here. They
run on up to 1,500 training rows. Models of packages that are not installed are left
out; their models are one-vs-rest in pyGAM where there are more than two classes.

Printed are means over folds, and medians of the seconds, which contain the treatment of
columns. The calibration error is the expected one of Guo et al., "On calibration of
modern neural networks", ICML 2017: with rows put into 15 equally wide bins by their
largest probability, the mean over rows of |accuracy - mean probability| of their bin;
bins hold the rows of all test folds. Coverage is of the intervals mean +- 1.645 std,
which should hold 90 %; both KAN and GP include the noise in std, and KAN has none
where it is too large for second-order training. A failed fit makes a model last on its
table. Differences are to KAN on the same folds, with the standard error over folds; as
training rows of folds overlap, it is rather too small.

With `--results` every fit adds a line to that file, and what it holds already is not
run again, failures included; delete the lines of a model that has changed.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
)
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    LabelEncoder,
    OneHotEncoder,
    SplineTransformer,
    StandardScaler,
)
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from skkan import KANClassifier, KANRegressor

N_FOLDS = 5
N_BINS = 15  # of the calibration error, as in its source
QUANTILE_90 = 1.645  # of a Gaussian, for an interval with 90 % of it
OURS = "KAN"
KEY = ["table", "max_rows", "model", "seed", "fold"]


# Tables


@dataclass(frozen=True)
class Table:
    """Columns and target of a data set; classes are numbers from 0."""

    name: str
    task: str
    X: pd.DataFrame
    y: np.ndarray


def make_table(name, task, X, y, max_rows):
    """A table of a random subset of the rows."""
    if 0 < max_rows < len(X):
        rows = np.random.default_rng(0).permutation(len(X))[:max_rows]
        X, y = X.iloc[rows].reset_index(drop=True), y.iloc[rows]
    if task == "classification":
        return Table(name, task, X, LabelEncoder().fit_transform(y))
    return Table(name, task, X, y.to_numpy(dtype=float))


def bundled_tables(max_rows):
    """The tables that come with scikit-learn."""
    loaders = {
        "diabetes": load_diabetes,
        "breast_cancer": load_breast_cancer,
        "iris": load_iris,
        "wine": load_wine,
        "digits": load_digits,
    }
    for name, load in loaders.items():
        task = "regression" if name == "diabetes" else "classification"
        yield make_table(name, task, *load(return_X_y=True, as_frame=True), max_rows)


def tables_of_folder(folder, max_rows):
    """The tables that the index of a folder names."""
    index = json.loads(Path(folder, "index.json").read_text(encoding="utf-8"))
    for name, about in index.items():
        X = pd.read_csv(Path(folder, f"{name}.csv.gz"))
        y = X.pop(about["target"])
        yield make_table(name, about["task"], X, y, max_rows)


# Models


def fitted_gam(name, X, y):
    """A model of pyGAM, whose printed complaint is made a warning."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        gam = getattr(importlib.import_module("pygam"), name)().fit(X, y)
    if "did not converge" in said.getvalue():
        warnings.warn("pyGAM did not converge", ConvergenceWarning, stacklevel=2)
    return gam


class GAMRegressor(RegressorMixin, BaseEstimator):
    """pyGAM's model of a target as an estimator of today's scikit-learn."""

    def fit(self, X, y):
        self.gam_ = fitted_gam("LinearGAM", X, y)
        return self

    def predict(self, X):
        return self.gam_.predict(X)


class GAMClassifier(ClassifierMixin, BaseEstimator):
    """pyGAM's model of two classes as an estimator of today's scikit-learn."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.gam_ = fitted_gam("LogisticGAM", X, y == self.classes_[1])
        return self

    def predict_proba(self, X):
        second = self.gam_.predict_proba(X)
        return np.column_stack([1 - second, second])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def from_package(module, name, **settings):
    """Function that makes an estimator, and imports it only then."""
    return lambda **more: getattr(importlib.import_module(module), name)(
        **settings, **more
    )


def learnt_kernel():
    return ConstantKernel() * RBF()


@dataclass(frozen=True)
class Model:
    """A pair of estimators, and what they need around them."""

    regressor: Callable
    classifier: Callable
    scaled: bool = False  # numbers
    scaled_target: bool = False
    splines: bool = False
    has_seed: bool = True
    has_std: bool = False
    threads: str | None = None  # name of the parameter
    most_rows: float = np.inf  # to train on
    package: str | None = None  # beside scikit-learn and skkan

    @property
    def is_installed(self):
        return not self.package or importlib.util.find_spec(self.package) is not None

    def build(self, task, seed, n_threads):
        """Pipeline from a data frame to predictions."""
        settings = {"random_state": seed} if self.has_seed else {}
        if self.threads:
            settings[self.threads] = n_threads
        is_regression = task == "regression"
        estimator = (self.regressor if is_regression else self.classifier)(**settings)
        if is_regression and self.scaled_target:
            estimator = TransformedTargetRegressor(
                estimator, transformer=StandardScaler()
            )
        return make_pipeline(make_columns(self.scaled, self.splines), estimator)


def make_columns(scaled, splines):
    """Transformer of the columns of a table to numbers."""
    # Splines need columns that vary.
    steps = [SimpleImputer(strategy="median"), VarianceThreshold()]
    if scaled:
        steps.append(StandardScaler())
    if splines:
        steps.append(SplineTransformer())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer(
        (make_pipeline(*steps), make_column_selector(dtype_include="number")),
        (one_hot, make_column_selector(dtype_exclude="number")),
    )


MODELS = {
    OURS: Model(KANRegressor, KANClassifier, has_std=True),
    "MLP": Model(MLPRegressor, MLPClassifier, scaled=True, scaled_target=True),
    "HistGB": Model(HistGradientBoostingRegressor, HistGradientBoostingClassifier),
    "RandomForest": Model(
        RandomForestRegressor, RandomForestClassifier, threads="n_jobs"
    ),
    "linear": Model(
        lambda: RidgeCV(),
        lambda: LogisticRegression(),
        scaled=True,
        has_seed=False,
    ),
    "splines": Model(
        lambda: RidgeCV(),
        lambda: LogisticRegression(),
        splines=True,
        has_seed=False,
    ),
    "GP": Model(
        lambda **settings: GaussianProcessRegressor(
            learnt_kernel() + WhiteKernel(), normalize_y=True, **settings
        ),
        lambda **settings: GaussianProcessClassifier(learnt_kernel(), **settings),
        scaled=True,
        has_std=True,
        most_rows=1500,
    ),
    "EBM": Model(
        from_package("interpret.glassbox", "ExplainableBoostingRegressor"),
        from_package("interpret.glassbox", "ExplainableBoostingClassifier"),
        threads="n_jobs",
        package="interpret",
    ),
    "pyGAM": Model(
        GAMRegressor,
        lambda: OneVsRestClassifier(GAMClassifier()),
        has_seed=False,
        package="pygam",
    ),
    "XGBoost": Model(
        from_package("xgboost", "XGBRegressor"),
        from_package("xgboost", "XGBClassifier"),
        threads="n_jobs",
        package="xgboost",
    ),
    "LightGBM": Model(
        from_package("lightgbm", "LGBMRegressor", verbose=-1),
        from_package("lightgbm", "LGBMClassifier", verbose=-1),
        threads="n_jobs",
        package="lightgbm",
    ),
    "RealMLP": Model(
        from_package("pytabkit", "RealMLP_TD_S_Regressor"),
        from_package("pytabkit", "RealMLP_TD_S_Classifier"),
        threads="n_threads",
        package="pytabkit",
    ),
}


# Runs


@dataclass(frozen=True)
class Run:
    """One model on one fold of one table."""

    table: Table
    max_rows: int
    model: str
    seed: int
    fold: int
    train: np.ndarray
    test: np.ndarray

    @property
    def key(self):
        name = self.table.name
        return name, self.max_rows, self.model, self.seed, self.fold


def make_runs(tables, models, n_seeds, max_rows):
    """All runs, models next to each other, so that times of a table compare."""
    for table in tables:
        splitter = KFold if table.task == "regression" else StratifiedKFold
        for seed in range(n_seeds):
            splits = splitter(N_FOLDS, shuffle=True, random_state=seed)
            for fold, rows in enumerate(splits.split(table.X, table.y)):
                for model in models:
                    if len(rows[0]) <= MODELS[model].most_rows:
                        yield Run(table, max_rows, model, seed, fold, *rows)


def regression_scores(y, predicted):
    return {
        "r2": r2_score(y, predicted),
        "rmse": root_mean_squared_error(y, predicted),
    }


def coverage(pipeline, X, y):
    """Share of the targets in their intervals, or why there are none."""
    try:
        mean, std = pipeline.predict(X, return_std=True)
    except ValueError as error:  # of a network that was too large for a posterior
        return {"no_intervals": str(error)}
    return {"coverage": float(np.mean(np.abs(y - mean) <= QUANTILE_90 * std))}


def classification_scores(y, probability):
    """Scores, and of each bin of the calibration error sum of hits - probability."""
    top, hit = probability.max(axis=1), probability.argmax(axis=1) == y
    bins = np.clip(np.ceil(top * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    return {
        "accuracy": float(hit.mean()),
        "log_loss": log_loss(y, probability, labels=range(probability.shape[1])),
        "gaps": np.bincount(bins, hit - top, N_BINS).tolist(),
    }


def fit_and_score(run, pipeline):
    """Seconds and scores of a fit."""
    table = run.table
    X_test, y_test = table.X.iloc[run.test], table.y[run.test]
    start = time.perf_counter()
    pipeline.fit(table.X.iloc[run.train], table.y[run.train])
    middle = time.perf_counter()
    if table.task == "regression":
        predicted, score = pipeline.predict(X_test), regression_scores
    else:
        predicted, score = pipeline.predict_proba(X_test), classification_scores
    end = time.perf_counter()
    scores = {"fit_seconds": middle - start, "predict_seconds": end - middle}
    scores |= score(y_test, predicted)
    if table.task == "regression" and MODELS[run.model].has_std:
        scores |= coverage(pipeline, X_test, y_test)
    return scores


def perform(run, n_threads):
    """The line of a run in the file of results."""
    record = dict(zip(KEY, run.key, strict=True))
    record |= {"n_test": len(run.test), "failed": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = MODELS[run.model]
            pipeline = model.build(run.table.task, run.seed, n_threads)
            with threadpool_limits(n_threads):  # after the import of the model
                record |= fit_and_score(run, pipeline)
        except Exception as error:  # noqa: BLE001 - a failure is a result
            record["failed"] = f"{type(error).__name__}: {error}"
    others = [w for w in caught if not issubclass(w.category, ConvergenceWarning)]
    record["n_convergence_warnings"] = len(caught) - len(others)
    for message in sorted({str(warning.message) for warning in others}):
        tqdm.write(f"{run.model} on {run.table.name}: {message}", file=sys.stderr)
    return record


def read_results(path):
    """Records by key of what has been run before."""
    if path is None or not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    records = map(json.loads, lines)
    return {tuple(record[part] for part in KEY): record for record in records}


def perform_all(runs, path, n_threads):
    """Data frame of the records of all runs, each of them added to the file."""
    records = read_results(path)
    with tqdm(runs, unit="fit") as progress:
        for run in progress:
            if run.key in records:
                continue
            progress.set_description(f"{run.table.name}, {run.model}")
            records[run.key] = perform(run, n_threads)
            if path is not None:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(records[run.key]) + "\n")
    return pd.DataFrame([records[run.key] for run in runs])


# Summaries: each of the records of one model on one table


def mean_of(name):
    return lambda records: records[name].mean() if name in records else np.nan


def median_of(name):
    return lambda records: records[name].median()


def n_warned(records):
    return (records["n_convergence_warnings"] > 0).sum()


def calibration_error(records):
    """Mean over the seeds of the error on the rows of all their folds."""
    errors = [
        np.abs(np.sum(folds["gaps"].tolist(), axis=0)).sum() / folds["n_test"].sum()
        for _, folds in records.groupby("seed")
    ]
    return np.mean(errors)


@dataclass(frozen=True)
class Score:
    """The score that models are ranked and compared by."""

    name: str
    column: str
    is_better_if: str


SCORES = {
    "regression": Score("R2", "r2", "higher"),
    "classification": Score("log loss", "log_loss", "lower"),
}
SECONDS = {
    "fit": (median_of("fit_seconds"), ".3g"),
    "predict [s]": (median_of("predict_seconds"), ".2g"),
}
WARNED = {"folds with convergence warnings": (n_warned, "d")}
GROUPS = {
    "regression": [
        {"R2": (mean_of("r2"), ".3f"), "RMSE": (mean_of("rmse"), ".4g")},
        {"coverage of 90 % intervals": (mean_of("coverage"), ".3f")},
        SECONDS,
        WARNED,
    ],
    "classification": [
        {
            "accuracy": (mean_of("accuracy"), ".3f"),
            "log loss": (mean_of("log_loss"), ".3f"),
            "calibration error": (calibration_error, ".3f"),
        },
        SECONDS,
        WARNED,
    ],
}


@dataclass(frozen=True)
class Results:
    """Records of the tables of one task."""

    records: pd.DataFrame
    models: list
    tables: list

    def of(self, model, table):
        records = self.records
        return records[(records["model"] == model) & (records["table"] == table)]

    def summary(self, summarise):
        """Data frame of models and tables of what `summarise` makes of records."""
        cells = {
            table: [summarise(self.of(model, table)) for model in self.models]
            for table in self.tables
        }
        return pd.DataFrame(cells, index=self.models)


def results_by_task(frame, tables, models):
    for task in SCORES:
        names = [table.name for table in tables if table.task == task]
        if names:
            yield task, Results(frame[frame["table"].isin(names)], models, names)


def cell(group):
    """Function that writes the figures of a group, or why there are none."""

    def write(records):
        if records.empty:
            return ""
        n_failed = records["failed"].notna().sum()
        if n_failed:
            return f"failed {n_failed}/{len(records)}"
        figures = [(summarise(records), form) for summarise, form in group.values()]
        if all(np.isnan(figure) for figure, _ in figures):
            return ""
        return " / ".join(format(figure, form) for figure, form in figures)

    return write


def ranks(results, score):
    """Rank of each model on each table: 1 is best, failures are last."""
    worst = -np.inf if score.is_better_if == "higher" else np.inf

    def value(records):
        if records.empty:
            return np.nan
        return worst if records["failed"].any() else records[score.column].mean()

    values = results.summary(value)
    return values.rank(ascending=score.is_better_if == "lower")


def differences(results, model, table, column):
    """Differences of a score to that of KAN on the same folds; empty if one failed."""
    ours, theirs = (
        results.of(name, table).set_index(["seed", "fold"]) for name in (OURS, model)
    )
    if ours["failed"].any() or theirs["failed"].any() or theirs.empty:
        return np.array([])
    return (theirs[column] - ours[column]).to_numpy()


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


# Report


def print_table(title, table):
    """Markdown of a data frame of text, without its empty rows."""
    table = table[(table != "").any(axis=1)]
    if table.empty:
        return
    print(f"\n{title}\n")
    print("| model |", " | ".join(table.columns), "|")
    print("| :--- |", " | ".join(["---:"] * len(table.columns)), "|")
    for name, row in table.iterrows():
        print(f"| {name} |", " | ".join(row), "|")


def print_ranks(results, score):
    table = ranks(results, score)
    text = pd.DataFrame(
        {"mean rank": table.mean(axis=1), "tables": table.count(axis=1)}
    )
    text = text[text["tables"] > 0].sort_values("mean rank")
    text["mean rank"] = text["mean rank"].map("{:.2f}".format)
    print_table(f"Mean rank by {score.name}", text.astype(str))


def print_differences(results, score):
    others = [model for model in results.models if model != OURS]

    def write(model, table):
        values = differences(results, model, table, score.column)
        return "{:+.3f} ± {:.3f}".format(*mean_and_error(values)) if len(values) else ""

    cells = {
        table: [write(model, table) for model in others] for table in results.tables
    }
    print_table(
        f"{score.name} minus that of {OURS}, ± paired standard error "
        f"({score.is_better_if} is better)",
        pd.DataFrame(cells, index=others),
    )


def print_report(task, results):
    print(f"\n## {task.capitalize()}")
    for group in GROUPS[task]:
        title = " / ".join(group)
        print_table(title[0].upper() + title[1:], results.summary(cell(group)))
    print_ranks(results, SCORES[task])
    if OURS in results.models:
        print_differences(results, SCORES[task])
    for _, record in results.records[results.records["failed"].notna()].iterrows():
        where = f"{record['model']} on {record['table']}"
        fold = f"seed {record['seed']}, fold {record['fold']}"
        print(f"\nFailed: {where}, {fold}: {record['failed']}")


# Picture


def draw_panel(ax, results, score, table):
    """Scores of the models on one table; bars are the errors of the differences."""
    for place, model in enumerate(results.models):
        records = results.of(model, table)
        if records.empty:
            continue
        if records["failed"].any():
            ax.text(
                *(0.03, place, "failed"),
                transform=ax.get_yaxis_transform(),
                va="center",
                bbox={"color": "white", "pad": 1},
            )
            continue
        error = None
        if OURS in results.models:
            values = differences(results, model, table, score.column)
            error = mean_and_error(values)[1] if len(values) else None
        ours = model == OURS
        ax.errorbar(
            records[score.column].mean(),
            place,
            xerr=error,
            fmt="o",
            color="C3" if ours else "C0",
            capsize=3,
        )
        if ours:
            ax.axvline(records[score.column].mean(), color="C3", lw=0.8, ls="--")
    ax.set(title=table, xlabel=f"{score.name} ({score.is_better_if} is better)")
    ax.grid(axis="y", alpha=0.3)


def draw(by_task, path, n_columns=4):
    """Save a figure with a panel per table."""
    from matplotlib.figure import Figure

    panels = [
        (results, SCORES[task], table)
        for task, results in by_task
        for table in results.tables
    ]
    models = panels[0][0].models
    n_columns = min(n_columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    size = (1.2 + 3 * n_columns, 0.9 + n_rows * (1.0 + 0.28 * len(models)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for ax, panel in zip(axes.flat, panels, strict=False):
        draw_panel(ax, *panel)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    axes[0, 0].set_yticks(range(len(models)), models)
    axes[0, 0].set_ylim(len(models) - 0.5, -0.5)  # first model on top
    bars = f"paired standard error of the difference to {OURS}"
    figure.suptitle(f"Means over test folds; bars: {bars}")
    figure.savefig(path, dpi=150)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER")
    parser.add_argument("--tables", nargs="+")
    parser.add_argument("--models", nargs="+", choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=4000, help="0 takes all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    arguments = parser.parse_args()
    for name in arguments.models or []:
        if not MODELS[name].is_installed:
            parser.error(f"{name} needs the package {MODELS[name].package}")
    return arguments


def choose_tables(arguments):
    """The tables asked for, in the order of their source."""
    max_rows = arguments.max_rows
    tables = list(
        tables_of_folder(arguments.data, max_rows)
        if arguments.data
        else bundled_tables(max_rows)
    )
    known = [table.name for table in tables]
    unknown = set(arguments.tables or []).difference(known)
    if unknown:
        sys.exit(f"Unknown tables: {', '.join(unknown)}; there are {', '.join(known)}")
    return [t for t in tables if t.name in (arguments.tables or known)]


def main():
    arguments = parse_arguments()
    models = [
        name
        for name, model in MODELS.items()
        if (name in arguments.models if arguments.models else model.is_installed)
    ]
    tables = choose_tables(arguments)
    runs = list(make_runs(tables, models, arguments.seeds, arguments.max_rows))
    if not runs:
        sys.exit("None of the models can take that many training rows: see --max-rows")
    frame = perform_all(runs, arguments.results, arguments.threads)
    print(
        f"Settings: {N_FOLDS} folds, seeds: {arguments.seeds}, "
        f"at most {arguments.max_rows or 'all'} rows, threads: {arguments.threads}"
    )
    by_task = list(results_by_task(frame, tables, models))
    for task, results in by_task:
        print_report(task, results)
    if arguments.picture:
        draw(by_task, arguments.picture)


if __name__ == "__main__":
    main()
