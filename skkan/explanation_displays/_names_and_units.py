"""Names of inputs and outputs in displays, and the units of the outputs."""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np

from skkan.drawing._labels import checked_names
from skkan.estimators._base import fitted_model_of

RESPONSES_OF_CLASSES = "log odds of ", "logit of "  # the latter of exclusive ones


@dataclass(frozen=True)
class NamesAndUnits:
    """Names and units by which a display calls what a fitted model knows.

    Attributes
    ----------
    feature_names, target_names : list of str
    response : str
        What an output is of its name, such as "log odds of ".
    units : ndarray of shape (n_outputs,) or None
        Deviations of targets that differ in their units.
    """

    feature_names: list
    target_names: list
    response: str
    units: np.ndarray | None

    @classmethod
    def of(cls, estimator, feature_names=None, target_names=None):
        """Names and units of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
        feature_names, target_names : sequence of str, default=None
            None takes those that the estimator knows.

        Raises
        ------
        ValueError
            If the number of names is not that of the inputs or outputs.
        """
        model = fitted_model_of(estimator)
        names = {"feature_names": feature_names, "target_names": target_names}
        known = {
            "feature_names": model.feature_names,
            "target_names": model.output_names,
        }
        for parameter, given in names.items():
            own = [str(name) for name in known[parameter]]
            if given is not None:
                own = checked_names(parameter, given, len(own))
            names[parameter] = own
        has_units = model.target.classes is None and not model.target.has_log_link
        units = (
            model.output_scaling.scale if has_units and model.n_outputs > 1 else None
        )
        return cls(**names, response=response_of(model.target), units=units)

    def output_meant(self, target):
        """Number of an output that is given by its name or number; None for None."""
        names = self.target_names
        if target is None:
            return None
        if isinstance(target, str) and target in names:
            return names.index(target)
        whole = isinstance(target, Integral) and not isinstance(target, bool)
        if whole and 0 <= target < len(names):
            return int(target)
        raise ValueError(
            f"target must be the name or number of an output, got {target!r}: the "
            f"names are {names}."
        )

    def in_effects(self, effects):
        """The same Effects with these names."""

        def renamed(effect):
            names = tuple(self.feature_names[column] for column in effect.features)
            return replace(effect, feature_names=names)

        return replace(
            effects,
            mains=[renamed(effect) for effect in effects.mains],
            pairs=[renamed(effect) for effect in effects.pairs],
            output_names=self.target_names,
        )

    def in_explanation(self, explanation):
        """The same Explanation with these names."""
        return replace(
            explanation,
            feature_names=self.feature_names,
            output_names=self.target_names,
        )


def response_of(target):
    """What the raw output is of a target, as a prefix of its name, str."""
    if target.classes is None:
        return "log mean of " if target.has_log_link else ""
    # Raw outputs of exclusive classes are defined up to a common summand.
    return RESPONSES_OF_CLASSES[target.has_exclusive_classes]
