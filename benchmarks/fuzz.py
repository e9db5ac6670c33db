"""Is every fit sane, or refused with a reason? Random data, weights and parameters.

    python benchmarks/fuzz.py [--fits 1000] [--seed 0] [--limit 30]
    python benchmarks/fuzz.py --only-seed 17

A fit must end within the limit in sane predictions, or in a ValueError that names what
is wrong. Sane predictions are

- finite, of the training rows, of rows like them, and of rows far outside;
- no worse than a constant on the training rows, unless the fit has warned, or has seen
  three batches only, or the rows that count are fewer than five (those that early
  stopping fits or validates on, those of classes), which is too early to tell;
- with curves that are constant beyond their grids and an identity link, nowhere beyond
  the range of y by more than three times its width, plus 1e-9 of its size.

Anything else is a finding, as is a warning of another kind than those of the package.
Printed are how the fits have ended, and the findings by kind with the seeds that show
them. A seed stands for one case, whatever the other options; `--only-seed` prints it as
code to paste, and runs it.
"""

import argparse
import collections
import contextlib
import inspect
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.utils.class_weight import compute_sample_weight

import skkan
from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt

# How much worse than a constant a fit may be. Robust losses adapt to the residuals, the
# log loss counts half a row more of each class, and early stopping does not fit all of
# the rows by which the constant is the best.
TOLERANCE = 0.02
LOOSE_TOLERANCE = 0.1
LARGEST_SHARE = 0.2  # of the weight of a row in that of all
MIN_ROWS = 5  # that tell of early stopping, or of classes
N_FRESH = 100  # rows to predict beside those of training
WORSE = "worse than a constant"
OUTPUT_SIZE = 100  # characters of a message that are shown
# Words by which a message names what is wrong.
OF_DATA = (
    "X",
    "y",
    "sample_weight",
    "sample",
    "weights",
    "row",
    "rows",
    "class",
    "classes",
    "columns",
)


# Columns of X: functions of (generator, number of rows).


def gaussian(rng, n):
    return rng.normal(size=n)


def even(rng, n):
    return rng.uniform(-1, 1, n)


def heavy_tails(rng, n):
    return rng.standard_t(1, n)


def lognormal(rng, n):
    return np.exp(3 * rng.normal(size=n))


def ties(rng, n):
    return rng.integers(0, 4, n).astype(float)


def flags(rng, n):
    return (rng.uniform(size=n) < 0.3).astype(float)


def rare_flags(rng, n):
    return (np.arange(n) == rng.integers(n)).astype(float)


def gap(rng, n):
    return rng.normal(size=n) + 100 * (rng.uniform(size=n) < 0.5)


def outlier(rng, n):
    x = rng.normal(size=n)
    x[rng.integers(n)] = 1e6
    return x


def constant(rng, n):
    return np.full(n, rng.normal())


def nearly_constant(rng, n):
    return 1 + 1e-13 * rng.normal(size=n)


def time_of_day(rng, n):
    return np.sort(rng.uniform(0, 1, n))


COLUMNS = [
    gaussian,
    even,
    heavy_tails,
    lognormal,
    ties,
    flags,
    rare_flags,
    gap,
    outlier,
    constant,
    nearly_constant,
    time_of_day,
]


def ranks(X):
    """Columns by the order of their values, evenly spread in (-1, 1)."""
    return 2 * (X.argsort(axis=0).argsort(axis=0) + 0.5) / len(X) - 1


# Targets of regression: functions of (generator, X).


def law(rng, X):
    z = ranks(X)
    return np.sin(3 * z[:, 0]) + z[:, 0] * z[:, -1] + 0.1 * rng.normal(size=len(X))


def exact_law(rng, X):
    z = ranks(X)
    return np.exp(z[:, 0]) + z[:, -1] ** 2


def noise(rng, X):
    return rng.normal(size=len(X))


def heavy_noise(rng, X):
    return law(rng, X) + rng.standard_t(1, len(X))


def one_outlier(rng, X):
    y = law(rng, X)
    y[rng.integers(len(X))] = 1e6
    return y


def equal(rng, X):
    return np.full(len(X), 1.0)


def nearly_equal(rng, X):
    return 1 + 1e-12 * rng.normal(size=len(X))


def few_values(rng, X):
    return np.round(law(rng, X))


def mostly_zero(rng, X):
    return np.exp(law(rng, X)) * (rng.uniform(size=len(X)) < 0.1)


def step(rng, X):
    return (ranks(X)[:, 0] > 0.2).astype(float)


def positive(rng, X):
    return np.exp(law(rng, X))


def counts(rng, X):
    return rng.poisson(np.exp(1 + law(rng, X))).astype(float)


def two_outputs(rng, X):
    return np.column_stack([law(rng, X), noise(rng, X)])


TARGETS = [
    law,
    law,
    exact_law,
    noise,
    heavy_noise,
    one_outlier,
    equal,
    nearly_equal,
    few_values,
    mostly_zero,
    step,
    positive,
    counts,
    two_outputs,
]
POSITIVE_TARGETS = {
    "poisson": [positive, counts, mostly_zero, equal],
    "gamma": [positive, positive, equal],
    "tweedie": [positive, counts, mostly_zero, equal],
}

# Targets of classification.


def two_classes(rng, X):
    return (law(rng, X) > 0).astype(int)


def separable(rng, X):
    return (ranks(X)[:, 0] > 0).astype(int)


def rare_class(rng, X):
    return (law(rng, X) >= np.sort(law(rng, X))[-2]).astype(int)


def three_classes(rng, X):
    return rng.integers(0, 3, len(X))


def named_classes(rng, X):
    return np.array(["a", "b", "c", "d"])[np.digitize(law(rng, X), [-0.5, 0, 0.5])]


def xor(rng, X):
    z = ranks(X)
    return ((z[:, 0] > 0) ^ (z[:, -1] > 0)).astype(int)


def one_class(rng, X):
    return np.zeros(len(X), dtype=int)


def labels(rng, X):
    return np.column_stack([two_classes(rng, X), separable(rng, X)])


CLASS_TARGETS = [
    two_classes,
    two_classes,
    separable,
    rare_class,
    three_classes,
    named_classes,
    xor,
    one_class,
    labels,
]

# Weights of rows.


def unequal(rng, n):
    return rng.uniform(0.1, 3, n)


def repetitions(rng, n):
    return rng.integers(0, 4, n).astype(float)


def large(rng, n):
    return np.full(n, 1e4)


def small(rng, n):
    return np.full(n, 1 / n)


def dominated(rng, n):
    weight = np.ones(n)
    weight[rng.integers(n)] = 1e5
    return weight


def spread_out(rng, n):
    return np.exp(4 * rng.normal(size=n))


WEIGHTS = [unequal, repetitions, large, small, dominated, spread_out]

# Values to draw the parameters of both estimators from; each parameter keeps its
# default in most of the cases.
PARAMETERS = {
    "hidden_layer_sizes": ["auto", (), (), (1,), (3,), (5,), 2, (2, 2)],
    "grid_size": [1, 1, 2, 3, 10, 10, 30, 200],
    "spline_order": [0, 1, 2, 4, 5],
    "grid_eps": [0.0, 0.1, 0.5, 1.0],
    "grid_schedule": [(6, 12)],
    "n_grid_updates": [0, 1, 20],
    "base_activation": ["identity"],
    "extrapolation": ["linear"],
    "additive_skip": [True],
    "solver": [
        "lm",
        "lbfgs",
        "adam",
        Adam(learning_rate=0.1, batch_size=16),
        LBFGS(history_size=3),
        LevenbergMarquardt(damping=1.0),
    ],
    "alpha": [0.0, 1e-8, 1e-3, 0.1, 10.0, 1e6],
    "penalty": [SparsityPenalty(), SparsityPenalty(lamb=1.0, lamb_coef=1.0)],
    "prune_threshold": [0.0, 0.01, 0.1, 10.0, "auto", "auto"],
    "max_iter": [1, 2, 5, 20, 100],
    "tol": [0.0, 1e-6, 0.1],
    "early_stopping": [True],
    "validation_fraction": [0.01, 0.3, 0.9],
    "n_iter_no_change": [1, 3],
    "warm_start": [True],
}
LOSSES = ["squared_error", "squared_error", "huber", "quantile", "poisson", "gamma"]
LOSSES += ["tweedie"]
MAX_ITER_OF_MOST = 30  # in most cases, so that many fits can be run
P_CHANGED = 0.2  # of a parameter to have another value than its default
P_COMPATIBLE = 0.95  # of parameters to be such as go together


@dataclass(frozen=True)
class Case:
    """Data, weights and parameters of a fit, and the code that makes them.

    Attributes
    ----------
    seed : int
        Of the data.
    n_rows : int
    columns : list of (function, float, float)
        Columns of X, with a scale and a shift.
    missing : float
        Share of the cells of X that are missing.
    target, weight : function or None
    scale, shift : float
        Of a target of regression.
    make : type
        The estimator.
    parameters : dict
    streams : bool
        Whether batches of a third of the rows are fitted one after the other, rather
        than all rows.
    """

    seed: int
    n_rows: int
    columns: list
    missing: float
    target: object
    weight: object
    scale: float
    shift: float
    make: type
    parameters: dict
    streams: bool

    @classmethod
    def drawn(cls, seed, *, max_rows=200, max_iter=500):
        """The case of a seed, with these limits."""
        rng = np.random.default_rng([seed, 0])
        is_class = rng.uniform() < 0.35
        kinds = [_one(rng, COLUMNS) for _ in range(_one(rng, [1, 1, 2, 2, 2, 3, 3, 6]))]
        if rng.uniform() < 0.02:
            kinds = kinds * 12
        columns = []
        for kind in kinds:
            is_scaled = rng.uniform() < 0.3
            scale = 10.0 ** rng.integers(-9, 10) if is_scaled else 1.0
            shift = scale * 10.0 ** rng.integers(-1, 4) if is_scaled else 0.0
            columns.append((kind, float(scale), float(shift)))
        n_rows = int(_one(rng, [2, 5, 10, 20, 40, 40, 60, 60, 100, 200]))
        loss = "log_loss" if is_class else _one(rng, LOSSES)
        parameters = _parameters(rng, loss, len(columns))
        streams = bool(rng.uniform() < 0.05)
        if rng.uniform() < P_COMPATIBLE:
            parameters = compatible(parameters, streams=streams)
        parameters["max_iter"] = min(parameters["max_iter"], max_iter)
        is_log = loss in POSITIVE_TARGETS
        if is_class:
            target, scale, shift = _one(rng, CLASS_TARGETS), 1.0, 0.0
        else:
            fits = rng.uniform() < 0.95
            kinds = POSITIVE_TARGETS[loss] if is_log and fits else TARGETS
            target = _one(rng, kinds)
            scale, shift = 1.0, 0.0
            if rng.uniform() < 0.3:
                scale = float(10.0 ** rng.integers(-9, 10))
                shift = float(scale * _one(rng, [0.0, 0.0, 10.0, 1e5])) * (not is_log)
        return cls(
            seed=seed,
            n_rows=min(n_rows, max_rows),
            columns=columns,
            missing=_one(rng, [0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.5]),
            target=target,
            weight=_one(rng, WEIGHTS) if rng.uniform() < 0.3 else None,
            scale=scale,
            shift=shift,
            make=KANClassifier if is_class else KANRegressor,
            parameters=parameters,
            streams=streams,
        )

    def rows(self, rng, n_rows):
        """X of new rows."""
        columns = [
            kind(rng, n_rows) * scale + shift for kind, scale, shift in self.columns
        ]
        return np.column_stack(columns)

    def data(self):
        """X, y and the weights or None; see `code`."""
        rng, n = np.random.default_rng(self.seed), self.n_rows
        X = self.rows(rng, n)
        y = self.target(rng, X)
        if self.make is KANRegressor:
            y = y * self.scale + self.shift
        weight = None if self.weight is None else self.weight(rng, n)
        X[rng.uniform(size=X.shape) < self.missing] = np.nan
        return X, y, weight

    def fresh_rows(self, X):
        """Rows like those of X, the same values in other combinations, and far ones."""
        rng = np.random.default_rng([self.seed, 1])
        new = self.rows(rng, N_FRESH)
        permuted = rng.permuted(X, axis=0)[:N_FRESH]
        far = permuted + 1e3 * np.abs(permuted) * rng.choice([-1, 1], permuted.shape)
        codes = self.parameters.get("categorical_features", [])
        far[:, codes] = permuted[:, codes]
        return np.vstack([X, new, permuted, far])

    def model(self):
        return self.make(**self.parameters)

    def fit(self, model, X, y, weight):
        """Fit in the way of the case."""
        if self.streams:
            first = {"classes": np.unique(y)} if self.make is KANClassifier else {}
            for start in range(3):
                part = slice(start, None, 3)
                of_part = None if weight is None else weight[part]
                model.partial_fit(X[part], y[part], sample_weight=of_part, **first)
            return model
        model.fit(X, y, sample_weight=weight)
        if self.parameters.get("warm_start"):
            model.fit(X, y, sample_weight=weight)
        return model

    def code(self):
        """Python code that makes the data and fits the model."""
        used = needed_functions(
            [*(kind for kind, *_ in self.columns), self.target, self.weight]
        )
        columns = ",\n    ".join(
            f"{kind.__name__}(rng, n) * {scale!r} + {shift!r}"
            for kind, scale, shift in self.columns
        )
        name = self.make.__name__
        solvers = "LBFGS, Adam, LevenbergMarquardt"
        lines = [
            "import numpy as np",
            f"from skkan import {name}, SparsityPenalty",
            f"from skkan.solvers import {solvers}",
            *(f"\n\n{inspect.getsource(one).rstrip()}" for one in used),
            f"\n\nrng, n = np.random.default_rng({self.seed}), {self.n_rows}",
            f"X = np.column_stack([\n    {columns},\n])",
            f"y = {self.target.__name__}(rng, X)",
        ]
        if self.make is KANRegressor:
            lines.append(f"y = y * {self.scale!r} + {self.shift!r}")
        weight = f"{self.weight.__name__}(rng, n)" if self.weight else None
        lines.append(f"weight = {weight}")
        lines.append(f"X[rng.uniform(size=X.shape) < {self.missing}] = np.nan")
        lines.append(f"model = {name}(")
        lines += [f"    {key}={value!r}," for key, value in self.parameters.items()]
        lines.append(")")
        lines += self._code_of_fit()
        return "\n".join(lines)

    def _code_of_fit(self):
        fit = "model.fit(X, y, sample_weight=weight)"
        if not self.streams:
            return [fit] * (2 if self.parameters.get("warm_start") else 1)
        first = ", classes=np.unique(y)" if self.make is KANClassifier else ""
        return [
            "for start in range(3):",
            "    part = slice(start, None, 3)",
            "    of_part = None if weight is None else weight[part]",
            f"    model.partial_fit(X[part], y[part], sample_weight=of_part{first})",
        ]


def needed_functions(functions):
    """Some functions of this module, and those that they call first, a list."""
    found = {}
    for one in functions:
        if one is not None and one not in found:
            called = [globals().get(name) for name in one.__code__.co_names]
            inner = [one for one in called if inspect.isfunction(one)]
            found |= dict.fromkeys([*needed_functions(inner), one])
    return list(found)


def _one(rng, values):
    """One of the values, which may be of any type."""
    return values[rng.integers(len(values))]


def _parameters(rng, loss, n_columns):
    chosen = {
        name: _one(rng, values)
        for name, values in PARAMETERS.items()
        if rng.uniform() < P_CHANGED
    }
    chosen.setdefault("hidden_layer_sizes", _one(rng, ["auto", (), (), (3,), (3,)]))
    chosen.setdefault("max_iter", MAX_ITER_OF_MOST)
    if loss == "log_loss":
        if rng.uniform() < 0.2:
            chosen["class_weight"] = _one(rng, ["balanced", {0: 1.0, 1: 50.0}])
    else:
        chosen["loss"] = loss
    if loss == "quantile":
        chosen["quantile"] = _one(rng, [0.01, 0.5, 0.9])
    if loss == "tweedie":
        chosen["power"] = _one(rng, [1.1, 1.5, 1.9])
    if rng.uniform() < 0.1:
        chosen["categorical_features"] = [int(rng.integers(n_columns))]
    chosen["random_state"] = int(rng.integers(10))
    return chosen


def compatible(parameters, *, streams):
    """Parameters without those that are refused beside others."""
    left, drop = dict(parameters), set()
    solver = left.get("solver", "auto")
    is_lm = solver == "lm" or isinstance(solver, LevenbergMarquardt)
    if left.get("prune_threshold") == "auto":
        drop |= {"penalty", "alpha"} | (set() if is_lm else {"solver"})
    elif is_lm:
        drop |= {"penalty"}
    if "grid_schedule" in left and left.get("grid_size", 1) > 5:
        drop |= {"grid_size"}
    if streams:
        drop |= {"early_stopping"}
        if not (solver in ("auto", "adam") or isinstance(solver, Adam)):
            drop |= {"solver", "prune_threshold"}
    return {name: value for name, value in left.items() if name not in drop}


class TimeLimitError(BaseException):
    """A fit has taken too long. No Exception, so that nothing handles it."""


@contextlib.contextmanager
def time_limit(seconds):
    """Raise a TimeLimitError after some seconds of the processor."""

    def stop(*args):
        raise TimeLimitError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass(frozen=True)
class Outcome:
    """How a case has ended.

    Attributes
    ----------
    end : {"fitted", "warned", "refused", "failed"}
    findings : dict of str
        Details of what is not sane, by kind.
    """

    end: str
    findings: dict


def run(case, limit=30):
    """The Outcome of a case, within a limit in seconds."""
    data, model = case.data(), case.model()
    if case.streams and not hasattr(model, "partial_fit"):  # by its parameters
        return Outcome("refused", {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        end, findings, predictions = attempt(case, model, data, limit)
    has_warned = any(issubclass(one.category, ConvergenceWarning) for one in caught)
    for one in caught:
        if not is_own_warning(one):
            findings[one.category.__name__] = shortened(one.message)
    if end == "fitted" and has_warned:
        end = "warned"
    if predictions is not None:
        with np.errstate(all="ignore"):  # huge predictions are findings as they are
            found = list(insanities(case, model, data, predictions))
        for kind, detail in found:
            if not (has_warned and kind.startswith(WORSE)):
                findings[f"{kind}, warned" if has_warned else kind] = detail
    return Outcome(end, findings)


def attempt(case, model, data, limit):
    """How a fit ends, what is wrong with that, and predictions or None."""
    try:
        with time_limit(limit):
            case.fit(model, *data)
            return "fitted", {}, predicted(model, case.fresh_rows(data[0]))
    except ValueError as error:
        if names_what_is_wrong(error, case):
            return "refused", {}, None
        return "failed", {f"vague refusal in {where()}": shortened(error)}, None
    except TimeLimitError:
        return "failed", {"takes too long": where()}, None
    except Exception as error:  # noqa: BLE001 - a crash is a finding
        kind = f"{type(error).__name__} in {where()}"
        return "failed", {kind: shortened(error)}, None


def is_own_warning(warning):
    """Whether a warning is one that tells a user of the package something."""
    text = str(warning.message)
    if issubclass(warning.category, ConvergenceWarning | DataConversionWarning):
        return True
    return warning.category is UserWarning and "sample_weight sums to" in text


def where():
    """Last line of the package in the traceback of the present exception."""
    own = Path(skkan.__file__).parent
    frames = traceback.extract_tb(sys.exc_info()[2])
    inside = [one for one in frames if own in Path(one.filename).parents]
    one = (inside or frames)[-1]
    return f"{Path(one.filename).name}:{one.name}"


def shortened(text):
    return " ".join(str(text).split())[:OUTPUT_SIZE]


def names_what_is_wrong(error, case):
    """Whether the message of a ValueError names a parameter or what was passed."""
    text = str(error)
    words = set(text.replace("(", " ").replace("=", " ").replace(",", " ").split())
    return bool(words & {*OF_DATA, *case.model().get_params()}) and (
        "skkan" in "".join(traceback.format_tb(error.__traceback__))
    )


def predicted(model, rows):
    """All kinds of predictions of rows, by their names."""
    names = ["predict", "predict_proba", "decision_function"]
    found = {name: getattr(model, name)(rows) for name in names if hasattr(model, name)}
    posterior = getattr(model.fitted_model_, "posterior", None)
    if isinstance(model, KANRegressor) and hasattr(model, "noise_std_") and posterior:
        with contextlib.suppress(ValueError):
            found["std"] = model.predict(rows, return_std=True)[1]
    return found


def insanities(case, model, data, predictions):
    """(kind, detail) of what is wrong with a fitted model."""
    X, y, weight = data
    for name, values in predictions.items():
        if np.issubdtype(values.dtype, np.number) and not np.isfinite(values).all():
            yield f"{name} is not finite", f"{np.sum(~np.isfinite(values))} values"
            return
    if "std" in predictions and (predictions["std"] < 0).any():
        yield "negative deviation", ""
    weight = np.ones(len(X)) if weight is None else weight
    used = weight > 0
    is_claimed = not (case.streams or is_hardly_validated(case, weight))
    if case.make is KANClassifier:
        score = explained_log_loss(case, model, y, predictions["predict_proba"], weight)
        # Where few rows count, probabilities are near one half, as they should be.
        is_claimed = is_claimed and n_effective(case, y, weight) >= MIN_ROWS
        if score < -LOOSE_TOLERANCE and is_claimed:
            yield f"{WORSE} (classes)", f"{score:.3g} of the log loss"
        return
    prediction = predictions["predict"]
    loss = case.parameters["loss"]
    score = explained(case, y[used], prediction[: len(X)][used], weight[used])
    is_plain = loss == "squared_error" and not case.parameters.get("early_stopping")
    tolerance = TOLERANCE if is_plain else LOOSE_TOLERANCE
    if score < -tolerance and is_claimed:
        yield f"{WORSE} ({loss})", f"{score:.3g} explained"
    is_identity = loss in ("squared_error", "huber", "quantile")
    if is_identity and case.parameters.get("extrapolation") != "linear":
        low, high = y[used].min(axis=0), y[used].max(axis=0)
        size = np.maximum(np.abs(low), np.abs(high))
        room = 3 * (high - low) + 1e-9 * np.where(size > 0, size, 1.0)
        beyond = np.maximum(low - room - prediction, prediction - high - room)
        width = np.maximum(high - low, room)
        if (beyond > 0).any():
            detail = f"{float((beyond / width).max()):.3g} widths more"
            yield "far beyond the range of y", detail


def is_hardly_validated(case, weight):
    """Whether early stopping fits or validates on rows that tell next to nothing.

    They are few, or a single row outweighs the others and may be on either side.
    """
    if not case.parameters.get("early_stopping"):
        return False
    share = case.parameters.get("validation_fraction", 0.1)
    n_smaller = min(share, 1 - share) * np.count_nonzero(weight)
    return n_smaller < MIN_ROWS or weight.max() > LARGEST_SHARE * weight.sum()


def n_effective(case, y, weight):
    """Number of equal weights that tell as much as these (Kish)."""
    class_weight = case.parameters.get("class_weight")
    if class_weight:
        weight = weight * compute_sample_weight(class_weight, y)
    return weight.sum() ** 2 / np.square(weight).sum()


def explained(case, y, prediction, weight):
    """Share of the loss of the best constant that a regression explains."""
    share = weight / weight.sum()
    share = share[:, None] if y.ndim == 2 else share
    size = np.abs(y).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    y, prediction = y / size, prediction / size
    mean = (share * y).sum(axis=0)
    name = case.parameters["loss"]
    if name == "quantile":
        quantile = case.parameters["quantile"]
        mean = np.quantile(y, quantile, axis=0, weights=weight, method="inverted_cdf")
    elif name == "huber":
        mean = np.quantile(y, 0.5, axis=0, weights=weight, method="inverted_cdf")
    constant = np.broadcast_to(mean, y.shape)
    ours, others = (element_loss(case, y, one) for one in (prediction, constant))
    return float(share_explained(ours, others, weight).min())


def share_explained(ours, others, weight):
    """Share of the losses `others` of a constant that is not in `ours`.

    Where the constant is all but perfect on the rows that count, an error of a
    hundredth of that of the others is none, nor one of a thousandth of the size of y.
    """
    slack = 1e-6 + 0.01 * others.mean(axis=0)
    ours, others = (weight @ one / weight.sum() + slack for one in (ours, others))
    return 1 - ours / others


def element_loss(case, y, prediction):
    """Loss of each cell of y, in units of the largest value."""
    name = case.parameters["loss"]
    if name == "quantile":
        quantile = case.parameters["quantile"]
        residual = y - prediction
        return np.maximum(quantile * residual, (quantile - 1) * residual)
    if name == "huber":  # a smooth one, for the spread of y
        spread = np.median(np.abs(y - np.median(y, axis=0)), axis=0) + 1e-3
        return np.hypot(spread, y - prediction) - spread
    if name == "squared_error":
        return (y - prediction) ** 2
    power = {"poisson": 1.0, "gamma": 2.0, "tweedie": case.parameters.get("power")}
    return half_deviance(y, np.maximum(prediction, 1e-290), power[name])


def half_deviance(y, mean, power):
    """Half the unit deviance; see scikit-learn's mean_tweedie_deviance."""
    if power == 1:
        return np.where(y > 0, y * np.log(y / mean), 0) - y + mean
    if power == 2:
        return y / mean - np.log(y / mean) - 1
    ends = y ** (2 - power) / ((1 - power) * (2 - power))
    return (
        ends - y * mean ** (1 - power) / (1 - power) + mean ** (2 - power) / (2 - power)
    )


def explained_log_loss(case, model, y, probabilities, weight):
    """Share of the log loss of the class shares that a classifier explains."""
    probabilities = probabilities[: len(y)]
    if y.ndim == 2:
        indicator = np.stack([1 - y, y], axis=2)
        probabilities = np.stack([1 - probabilities, probabilities], axis=2)
    else:
        class_weight = case.parameters.get("class_weight")
        if class_weight == "balanced":
            position = np.unique(y, return_inverse=True)[1]
            totals = np.bincount(position, weights=weight)
            weight = weight / totals[position]
        elif class_weight:
            weight = weight * compute_sample_weight(class_weight, y)
        indicator = (y[:, None] == model.classes_).astype(float)[:, None]
        probabilities = probabilities[:, None]
    shares = np.einsum("n,noc->oc", weight / weight.sum(), indicator)
    ours = -np.einsum("noc,noc->n", indicator, np.log(probabilities.clip(1e-300)))
    others = -np.einsum("noc,oc->n", indicator, np.log(shares.clip(1e-300)))
    return float(share_explained(ours, others, weight))


def report(fits, first_seed, limit):
    """Run cases, and print how they have ended, and the findings by kind."""
    ends, kinds = collections.Counter(), collections.defaultdict(list)
    begin = time.perf_counter()
    for seed in range(first_seed, first_seed + fits):
        outcome = run(Case.drawn(seed), limit)
        ends[outcome.end] += 1
        for kind, detail in outcome.findings.items():
            kinds[kind].append((seed, detail))
            print(f"seed {seed}: {kind}: {detail}", flush=True)
    seconds = time.perf_counter() - begin
    print(f"\n{fits} fits in {seconds:.0f} s: {dict(ends)}")
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        seeds = ", ".join(str(seed) for seed, _ in found[:8])
        print(f"{len(found):5d}  {kind}; seeds {seeds}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--limit", type=float, default=30, help="seconds for a fit")
    parser.add_argument("--only-seed", type=int, help="show and run one case")
    arguments = parser.parse_args()
    if arguments.only_seed is None:
        report(arguments.fits, arguments.seed, arguments.limit)
        return
    case = Case.drawn(arguments.only_seed)
    print(case.code())
    print("\n#", run(case, arguments.limit))


if __name__ == "__main__":
    main()
