"""Affine maps between the user's units and the unit scale of the core."""

from dataclasses import dataclass

import numpy as np

# Moved by less than any weight, so that a cumulative weight which equals a quarter up
# to rounding counts as equal.
QUARTERS = np.array([0.25, 0.5, 0.75]) * (1 - 1e-10)
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
        and a constant one by the rounding of its value.
        """
        low, centre, high = np.quantile(
            X, QUARTERS, axis=0, weights=sample_weight, method="inverted_cdf"
        )
        with np.errstate(over="ignore"):
            scale = (high / 2 - low / 2) / (NORMAL_IQR / 2)
        _, deviation = _mean_and_std(X, sample_weight)
        scale = np.where(scale > _rounding(centre), scale, deviation)
        return cls(centre, _or_constant(scale, centre))

    @classmethod
    def standard(cls, y, sample_weight):
        """Weighted mean and standard deviation, or the rounding of a constant."""
        centre, scale = _mean_and_std(y, sample_weight)
        return cls(centre, _or_constant(scale, centre))

    def transform(self, values):
        """From the user's units to the unit scale."""
        with np.errstate(over="ignore"):  # infinitely far is beyond every grid
            return (values - self.centre) / self.scale

    def inverse_transform(self, values):
        """From the unit scale to the user's units."""
        return self.centre + self.scale * values


def _rounding(centre):
    """What the values around a centre may differ by although they are equal."""
    return 8 * np.finfo(centre.dtype).eps * np.abs(centre)


def _or_constant(scale, centre):
    """The scale, or for a constant column the rounding of its value (1 for zeros).

    What the mean misses the value by is then of order one, and what is predicted is
    the value up to rounding.
    """
    rounding = _rounding(centre)
    constant = np.where(rounding > 0, rounding, 1.0)
    return np.where(scale > rounding, scale, constant)


def _mean_and_std(values, sample_weight):
    # Divided by the largest value first, as the square of 1e200 is not finite.
    size = np.abs(values).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    unit = values / size
    share = (sample_weight / sample_weight.sum())[:, None]
    # Not as a matrix product, whose rounding depends on the threads of the BLAS.
    mean = (share * unit).sum(axis=0)
    return mean * size, np.sqrt((share * (unit - mean) ** 2).sum(axis=0)) * size
