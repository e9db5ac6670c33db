"""How the target of a fit is coded, scaled, scored and decoded.

A `Target` knows the user's y on one side and the matrix of the core on the other. It
knows nothing of networks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from decimal import Decimal
from numbers import Real

import numpy as np
import torch
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite
from torch.nn import functional

from skkan.data._column_checks import adding_remedies
from skkan.data._merged_rows import without_zero_weights
from skkan.data._scaling import AffineScaling
from skkan.losses._classification import BinaryLogLoss, MultinomialLogLoss
from skkan.losses._registry import regression_loss
from skkan.numerics._user_warnings import warn_user

ROUNDING = 1e-11  # of a scaled loss, below which a constant counts as perfect
SMALLEST_LOSS = 1e-300  # keeps the quotient of two losses finite


class Target(ABC):
    """How one target is coded; its fields say which.

    Conventions: the encoded target is a float64 matrix of shape (n_samples, n_outputs).
    `raw` is the raw output of a network, of the same shape, before the link.
    """

    classes = None  # ndarray of shape (n_classes,), or of shape (n_labels,)
    is_multilabel = False
    has_log_link = False

    @property
    @abstractmethod
    def loss(self):
        """Loss of the target, before it is adapted to the rows."""

    @abstractmethod
    def encode(self, y):
        """Matrix of a checked y."""

    @abstractmethod
    def scaling(self, matrix, sample_weight):
        """AffineScaling of the encoded target."""

    @abstractmethod
    def score(self, raw, matrix, sample_weight):
        """Score of scaled Tensors, float; higher is better."""

    @abstractmethod
    def output_names(self, n_outputs):
        """Names of the outputs of the network, list of str."""

    def loss_of_rows(self, matrix, sample_weight, scale):
        """Loss with what depends on the training rows."""
        return self.loss.for_target(matrix, sample_weight, scale)

    def strata(self, matrix):
        """Labels by which to stratify a validation split, or None."""
        return

    @property
    def has_exclusive_classes(self):
        """Whether each row belongs to one of several classes with outputs of their own.

        Two classes share one output.
        """
        return False

    def to_dict(self):
        """Kind and fields as plain values."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": type(self).__name__, **own}

    @staticmethod
    def from_dict(state):
        """Target from what `to_dict` returned."""
        state = dict(state)
        return KINDS[state.pop("kind")](**state)


@dataclass(frozen=True, eq=False)
class RegressionTarget(Target):
    """Numbers, as one column or several.

    Attributes
    ----------
    is_vector : bool
        Whether y has one dimension.
    loss_name : str
    loss_parameters : dict
        Fields of the loss that are parameters of the estimator.
    """

    is_vector: bool
    loss_name: str
    loss_parameters: dict

    @staticmethod
    def checked(y):
        """float64 y of shape (n_samples,) or (n_samples, n_outputs)."""
        y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        kinds = (Real, Decimal, np.bool_)
        numbers = y.dtype.kind == "O" and all(isinstance(v, kinds) for v in y.flat)
        if not (numbers or y.dtype.kind in "fiub"):
            raise ValueError(
                f"y must be numeric for regression, got dtype {y.dtype}: convert it to "
                "numbers, or use KANClassifier for class labels."
            )
        with adding_remedies():
            y = y.astype(np.float64)
            assert_all_finite(y, input_name="y")
        return y

    @property
    def loss(self):
        return regression_loss(self.loss_name, self.loss_parameters)

    @property
    def has_log_link(self):
        return self.loss.has_log_link

    def check_continues(self, previous):
        """Raise unless a fit to a previous target can be continued with this one."""
        if previous.loss_name != self.loss_name:
            raise ValueError(
                "A fit can only be continued with its loss, got "
                f"loss={self.loss_name!r} after {previous.loss_name!r}: start afresh "
                "by fit with warm_start=False."
            )

    def encode(self, y):
        return y.reshape(len(y), -1)

    def scaling(self, matrix, sample_weight):
        return self.loss.target_scaling(matrix, sample_weight)

    def score(self, raw, matrix, sample_weight):
        """R2 for the squared error; else the share of the best constant's deviance."""
        loss = self.loss
        if loss.is_normal:
            raw, matrix, weight = (
                part.cpu().numpy() for part in (raw, matrix, sample_weight)
            )
            if len(raw) == 1:  # of weight 2, say: the R2 of two equal rows is defined
                raw, matrix, weight = (
                    np.repeat(part, 2, axis=0) for part in (raw, matrix, weight)
                )
            return r2_score(matrix, raw, sample_weight=weight)
        loss = loss.exact
        constant = loss.baseline(matrix, sample_weight).expand_as(raw)
        weight = sample_weight / sample_weight.sum()
        left = weight @ loss.elements(raw, matrix)
        whole = weight @ loss.elements(constant, matrix)
        # As with R2, where a constant is perfect the score is 1 or 0.
        none = ROUNDING * (1 + constant[0].abs())
        share = torch.where(
            whole > none, left / whole.clamp(min=SMALLEST_LOSS), (left > none) * 1.0
        )
        return float(1 - share.mean())

    def decode(self, output):
        """Predictions in the shape that y had.

        Parameters
        ----------
        output : ndarray of shape (n_samples, n_outputs)
            In units of y, or its logarithms under a log link.
        """
        return self.shaped(self.loss.inverse_link(torch.from_numpy(output)).numpy())

    def shaped(self, values):
        """Columns in the shape that y had."""
        return values[:, 0] if self.is_vector else values

    def output_names(self, n_outputs):
        return (
            ["y"] if n_outputs == 1 else [f"y{output}" for output in range(n_outputs)]
        )


class IndicatorTarget(Target):
    """Classes or labels, coded as indicators of 0 and 1.

    Outputs are logits, whose scale is fixed.
    """

    @staticmethod
    def checked(y):
        """Class labels of shape (n_samples,), or an indicator matrix of labels."""
        y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            warn_user(
                "A column-vector y was passed when a 1d array was expected. Please "
                "change the shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
            )
            y = y.ravel()
        if y.ndim == 2 and not np.isin(y, (0, 1)).all():
            raise ValueError(
                "A y of several columns must be an indicator matrix of 0 and 1, one "
                "column a label: for several targets of more classes fit one model "
                "each."
            )
        check_classification_targets(y)
        return y

    @abstractmethod
    def decide(self, raw):
        """Position of the most probable class, or which labels are probable."""

    @abstractmethod
    def log_probabilities(self, raw):
        """Logarithms of the probabilities of all classes or labels, ndarray."""

    @abstractmethod
    def describe(self):
        """The kind of y in words."""

    def check_continues(self, previous):
        """Raise unless a fit to a previous target can be continued with this one."""
        if self.describe() != previous.describe():
            raise ValueError(
                "A fit can only be continued while classes_ stays the same, got "
                f"{self.describe()} after {previous.describe()}: start afresh by fit "
                "with warm_start=False."
            )

    def _check_dimensions(self, y):
        if (y.ndim == 2) != self.is_multilabel:
            raise ValueError(
                "y and y_val must be of one kind, and a fit is continued with the kind "
                f"that it began with: expected {self.describe()}, got shape {y.shape}."
            )

    def scaling(self, matrix, sample_weight):
        n_outputs = matrix.shape[1]
        return AffineScaling(np.zeros(n_outputs), np.ones(n_outputs))

    def score(self, raw, matrix, sample_weight):
        """Accuracy."""
        return accuracy_score(
            self.decide(matrix.cpu().numpy() - 0.5),
            self.decide(raw.cpu().numpy()),
            sample_weight=sample_weight.cpu().numpy(),
        )


@dataclass(frozen=True, eq=False)
class ClassTarget(IndicatorTarget):
    """One of several classes a row.

    Two classes have one column, the indicator of the second one.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        In the order of the columns.
    """

    classes: np.ndarray

    @property
    def loss(self):
        return BinaryLogLoss() if len(self.classes) == 2 else MultinomialLogLoss()

    @property
    def has_exclusive_classes(self):
        return len(self.classes) > 2

    def describe(self):
        return f"one of the classes {self.classes.tolist()} a row"

    def encode(self, y):
        self._check_dimensions(y)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y holds classes that the fit does not know: {unknown}; known are "
                f"{self.classes}. Leave these rows out, or fit with all classes."
            )
        indicator = (y[:, None] == self.classes).astype(np.float64)
        return indicator[:, 1:] if len(self.classes) == 2 else indicator

    def strata(self, matrix):
        return self.decide(matrix - 0.5)

    def decide(self, raw):
        if raw.shape[1] == 1:
            return (raw[:, 0] > 0).astype(int)
        return raw.argmax(axis=1)

    def decode(self, raw):
        """Labels of the most probable classes."""
        return self.classes[self.decide(raw)]

    def shaped(self, raw):
        """Logits as `decision_function` gives them."""
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def probabilities(self, raw):
        """Probabilities of all classes, ndarray of shape (n_samples, n_classes)."""
        if raw.shape[1] == 1:  # one minus the other would be 0 long before either is
            raw = np.hstack([-raw, raw])
        return self.loss.inverse_link(torch.from_numpy(raw)).numpy()

    def log_probabilities(self, raw):
        raw = torch.from_numpy(raw)
        if raw.shape[1] == 1:
            raw = torch.cat([torch.zeros_like(raw), raw], dim=1)
        return torch.log_softmax(raw, dim=1).numpy()

    def output_names(self, n_outputs):
        if n_outputs == 1:
            return [str(self.classes[-1])]
        return [str(name) for name in self.classes]

    def row_weigher(self, rows, class_weight):
        """Function that multiplies the weights of rows by those of their classes.

        Parameters
        ----------
        rows : tuple (X, encoded target, sample weight)
            By which "balanced" weights are found.
        class_weight : "balanced" or dict
        """
        _, matrix, weight = rows
        by_class = compute_class_weight(
            class_weight,
            classes=self.classes,
            y=self.classes[self.strata(matrix)],
            sample_weight=weight,
        )
        if not (np.isfinite(by_class).all() and (by_class >= 0).all()):
            raise ValueError(
                "class_weight must hold finite numbers of at least 0, got "
                f"{class_weight!r}."
            )
        if np.count_nonzero(by_class) < 2:
            raise ValueError(
                f"class_weight must leave at least 2 classes a weight, got "
                f"{class_weight!r}."
            )

        def weigh(rows):
            X, matrix, weight, *counts = rows
            with np.errstate(over="ignore"):
                weight = weight * by_class[self.strata(matrix)]
                total = weight.sum()
            if not 0 < total < np.inf:
                raise ValueError(
                    f"class_weight must leave these {len(X)} rows a finite, positive "
                    f"weight, got {class_weight!r}, which makes it {total}."
                )
            return without_zero_weights((X, matrix, weight, *counts))

        return weigh


@dataclass(frozen=True, eq=False)
class LabelTarget(IndicatorTarget):
    """Several labels, each of which a row has or has not.

    Attributes
    ----------
    n_labels : int
    """

    n_labels: int

    is_multilabel = True
    loss = BinaryLogLoss()

    @property
    def classes(self):
        return np.arange(self.n_labels)

    def describe(self):
        return f"a matrix of {self.n_labels} labels"

    def encode(self, y):
        self._check_dimensions(y)
        return y.astype(np.float64)

    def decide(self, raw):
        return raw > 0

    def decode(self, raw):
        """Matrix of 0 and 1."""
        return (raw > 0).astype(int)

    def shaped(self, raw):
        """Logits as `decision_function` gives them."""
        return raw

    def probabilities(self, raw):
        """Probability of each label, ndarray of shape (n_samples, n_labels)."""
        return self.loss.inverse_link(torch.from_numpy(raw)).numpy()

    def log_probabilities(self, raw):
        return functional.logsigmoid(torch.from_numpy(raw)).numpy()

    def output_names(self, n_outputs):
        return [str(label) for label in self.classes]

    def row_weigher(self, rows, class_weight):
        """Class weights have no meaning here: raises a ValueError."""
        raise ValueError(
            "class_weight is not defined for an indicator matrix of labels, got "
            f"{class_weight!r}: pass sample_weight instead."
        )


KINDS = {kind.__name__: kind for kind in (RegressionTarget, ClassTarget, LabelTarget)}
