"""Bisection: intervals of samples among sorted thresholds, as nodes of a graph.

Features are searched in their own units. Their thresholds are such that a sample falls
into the interval in which the estimator finds it after scaling. So rounding to float32
moves no sample across a knot.
"""

import numpy as np


def search(graph, x, thresholds):
    """Number of thresholds at or below each sample, by bisection.

    Parameters
    ----------
    graph : Graph
    x : str
        Samples of shape (n_inputs, n_samples), finite or NaN. NaN is below all.
    thresholds : ndarray of shape (n_inputs, n_thresholds)
        Increasing along each row, and infinite after the last.

    Returns
    -------
    place : str
        Indices of shape (n_inputs, n_samples) into a flat table in which each input has
        `stride_of(thresholds)` places.
    first : ndarray of shape (n_inputs, 1)
        First place of each input.
    """
    stride = stride_of(thresholds)
    rows = np.full((len(thresholds), stride), np.inf)
    rows[:, 1 : 1 + thresholds.shape[1]] = thresholds
    first = np.arange(len(thresholds), dtype=np.int32)[:, None] * stride
    place, step = None, stride // 2
    while step:
        if place is None:
            threshold = rows[:, [step]]
        else:
            threshold = graph.node("Gather", rows.ravel()[step:], place)
        is_beyond = graph.node("GreaterOrEqual", x, threshold)
        steps = graph.node("Mul", graph.index(is_beyond), np.array(step, np.int32))
        place = graph.node("Add", first if place is None else place, steps)
        step //= 2
    return place, first


def stride_of(thresholds):
    """Least power of two above the number of thresholds, and at least 2."""
    return 1 << max(1, thresholds.shape[1].bit_length())


def in_rows_of_stride(table, stride):
    """Table of shape (..., n_inputs, size), flat in the layout of `search`."""
    missing = stride - table.shape[-1]
    padded = np.pad(table, [(0, 0)] * (table.ndim - 1) + [(0, missing)])
    return padded.reshape(*table.shape[:-2], -1)


def thresholds_in_units(knots, centre, scale, dtype):
    """Smallest numbers whose scaled value (x - centre) / scale reaches each knot.

    Parameters
    ----------
    knots : ndarray of shape (n_inputs, n_knots)
        In scaled units, float64.
    centre, scale : ndarrays of shape (n_inputs, 1)
    dtype : numpy.dtype
        float32 or float64.

    Returns
    -------
    ndarray of shape (n_inputs, n_knots)
        Of the given type.
    """
    # The bits of floating-point numbers, read as integers, have the same order, up to
    # the sign. So a bisection over all numbers takes one step for each bit.
    integer = np.dtype(f"i{dtype.itemsize}")
    lowest = np.iinfo(integer).min
    most = np.array(np.finfo(dtype).max).view(integer)
    low, high = np.full(knots.shape, -most), np.full(knots.shape, most)

    def number(order):
        return np.where(order < 0, lowest - order, order).view(dtype)

    for _ in range(8 * dtype.itemsize):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        with np.errstate(over="ignore"):
            reaches = (number(middle).astype(np.float64) - centre) / scale >= knots
        low, high = np.where(reaches, low, middle), np.where(reaches, middle, high)
    return number(high)
