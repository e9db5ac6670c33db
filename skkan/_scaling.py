"""Affine maps between the user's units and the unit scale of the core."""

from dataclasses import dataclass

import numpy as np

NORMAL_IQR = 1.349  # interquartile range of the standard normal distribution


@dataclass(frozen=True, eq=False)
class AffineScaling:
    """x -> (x - centre) / scale for each column, and back.

    Attributes
    ----------
    centre, scale : ndarrays of shape (n_columns,)
        Finite; the scale is positive.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def robust(cls, X, sample_weight):
        """Weighted median and interquartile range, so that outliers do not matter.

        A column without an interquartile range is scaled by its standard deviation,
        and a constant one is only centred.
        """
        low, centre, high = np.quantile(
            X, [0.25, 0.5, 0.75], axis=0, weights=sample_weight, method="inverted_cdf"
        )
        with np.errstate(over="ignore"):
            scale = (high / 2 - low / 2) / (NORMAL_IQR / 2)
        _, deviation = _mean_and_std(X, sample_weight)
        scale = np.where(_negligible(scale, centre), deviation, scale)
        return cls(centre, np.where(_negligible(scale, centre), 1.0, scale))

    @classmethod
    def standard(cls, y, sample_weight):
        """Weighted mean and standard deviation; a constant column is only centred."""
        centre, scale = _mean_and_std(y, sample_weight)
        return cls(centre, np.where(_negligible(scale, centre), 1.0, scale))

    def transform(self, values):
        """From the user's units to the unit scale."""
        return (values - self.centre) / self.scale

    def inverse_transform(self, values):
        """From the unit scale to the user's units."""
        return self.centre + self.scale * values


def _negligible(scale, centre):
    """Whether a scale is no more than the rounding of the values around a centre."""
    return ~(scale > 8 * np.finfo(scale.dtype).eps * np.abs(centre))


def _mean_and_std(values, sample_weight):
    # Divided by the largest value first, as the square of 1e200 is not finite.
    size = np.abs(values).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    unit = values / size
    share = sample_weight / sample_weight.sum()
    mean = share @ unit
    return mean * size, np.sqrt(share @ (unit - mean) ** 2) * size
