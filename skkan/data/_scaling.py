"""Affine maps between the user's units and the unit scale of the core."""

from dataclasses import dataclass

import numpy as np

# Moved by less than any weight, so that a cumulative weight which equals a quarter up
# to rounding counts as equal.
QUARTERS = np.array([0.25, 0.5, 0.75]) * (1 - 1e-10)
NAMES = ("centre", "scale")
# Median of the absolute value of a standard normal variable, half of its interquartile
# range.
NORMAL_MEDIAN = 0.6745


@dataclass(frozen=True, eq=False)
class AffineScaling:
    """x -> (x - centre) / scale for each column, and back.

    Attributes
    ----------
    centre, scale : ndarrays of shape (n_columns,)
        The scale is positive. It is infinite for an input that does not vary: such a
        column becomes zero, whatever comes later.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def robust(cls, X, sample_weight):
        """Weighted median and interquartile range, so that outliers do not matter.

        A column without an interquartile range is scaled by what the standard deviation
        would be if all values that differ from the median did so by the median of their
        distances. Missing cells, NaN, do not take part; a column of nothing else does
        not vary.
        """
        if not isinstance(X, np.ndarray):  # whose columns come one at a time
            parts = [cls.robust(column, sample_weight) for column in X.columns()]
            centre, scale = ([vars(part)[name] for part in parts] for name in NAMES)
            return cls(np.concatenate(centre), np.concatenate(scale))
        incomplete = np.isnan(X).any(axis=0)
        if incomplete.any():
            return cls._robust_of_known(X, sample_weight, incomplete)
        # Column by column, since it sorts copies.
        quarters = [_weighted_quantile(each, QUARTERS, sample_weight) for each in X.T]
        quarters = np.reshape(quarters, (-1, len(QUARTERS)))  # there may be no column
        low, centre, high = np.ascontiguousarray(quarters.T)
        with np.errstate(over="ignore"):
            scale = (high / 2 - low / 2) / NORMAL_MEDIAN
        for column in np.flatnonzero(scale <= _rounding(centre)):
            scale[column] = _rare_deviation(
                X[:, column] - centre[column], _rounding(centre[column]), sample_weight
            )
        return cls(centre, np.where(scale > _rounding(centre), scale, np.inf))

    @classmethod
    def _robust_of_known(cls, X, sample_weight, incomplete):
        centre, scale = np.zeros(X.shape[1]), np.full(X.shape[1], np.inf)
        groups = [np.flatnonzero(~incomplete), *np.flatnonzero(incomplete)[:, None]]
        for columns in groups:
            known = ~np.isnan(X[:, columns]).any(axis=1)
            if len(columns) and known.any():
                part = cls.robust(X[known][:, columns], sample_weight[known])
                centre[columns], scale[columns] = part.centre, part.scale
        return cls(centre, scale)

    @classmethod
    def most_robust(cls, y, sample_weight):
        """Weighted median and median absolute deviation, half of y being outliers.

        A column more than half of which is equal is scaled by its interquartile range
        or its standard deviation, and a constant by its size.
        """
        standard, robust = cls.standard(y, sample_weight), cls.robust(y, sample_weight)
        centre = robust.centre
        with np.errstate(over="ignore"):
            distance = np.abs(y / 2 - centre / 2)
            middle = _weighted_quantile(distance, QUARTERS[1], sample_weight)
            scale = middle / (NORMAL_MEDIAN / 2)
        scale = np.where(scale > _rounding(centre), scale, robust.scale)
        return cls(centre, np.where(np.isfinite(scale), scale, standard.scale))

    @classmethod
    def standard(cls, y, sample_weight):
        """Weighted mean and standard deviation; a constant is scaled by its size."""
        centre, deviation = _mean_and_std(y, sample_weight)
        size = np.where(centre != 0, np.abs(centre), 1.0)
        return cls(centre, np.where(deviation > _rounding(centre), deviation, size))

    def with_new_columns(self, X, sample_weight):
        """Scaling in which these rows scale the columns that did not vary before."""
        constant = np.isinf(self.scale)
        if not constant.any():
            return self
        new = AffineScaling.robust(X, sample_weight)
        return AffineScaling(
            np.where(constant, new.centre, self.centre),
            np.where(constant, new.scale, self.scale),
        )

    def transform(self, values):
        """From the user's units to the unit scale; NaN stays NaN."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (values - self.centre) / self.scale
        # Infinitely far is beyond every grid; with an infinite scale it is nowhere.
        return np.where(np.isinf(self.scale) & ~np.isnan(values), 0.0, scaled)

    def without_units(self, columns):
        """Scaling that leaves the columns of a mask as they are."""
        return AffineScaling(
            np.where(columns, 0.0, self.centre), np.where(columns, 1.0, self.scale)
        )

    def inverse_transform(self, values):
        """From the unit scale to the user's units."""
        return self.centre + self.scale * values


def _weighted_quantile(values, share, sample_weight):
    return np.quantile(
        values, share, axis=0, weights=sample_weight, method="inverted_cdf"
    )


def _rounding(centre):
    """Largest difference from a centre that counts as rounding."""
    return 8 * np.finfo(centre.dtype).eps * np.abs(centre)


def _rare_deviation(difference, rounding, sample_weight):
    """Robust standard deviation of differences most of which are zero."""
    size = np.abs(difference)
    differs = size > rounding
    if not differs.any():
        return 0.0
    weight = sample_weight[differs]
    share = weight.sum() / sample_weight.sum()
    typical = _weighted_quantile(size[differs], 0.5, weight)
    return typical * np.sqrt(share * (1 - share))


def _mean_and_std(values, sample_weight):
    # Divided by the largest value first, as the square of 1e200 is not finite.
    size = np.abs(values).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    unit = values / size
    share = (sample_weight / sample_weight.sum())[:, None]
    # Not as a matrix product, whose rounding depends on the threads of the BLAS.
    mean = (share * unit).sum(axis=0)
    mean = np.clip(mean, unit.min(axis=0), unit.max(axis=0))  # of equal values: exact
    return mean * size, np.sqrt((share * (unit - mean) ** 2).sum(axis=0)) * size
