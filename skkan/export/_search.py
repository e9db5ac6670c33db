"""Where samples lie among sorted numbers, as nodes of a graph.

Features are searched in their own units, with thresholds such that a sample is found
where the estimator, which scales it first, finds it: rounding to float32 moves none
across a knot.
"""

import numpy as np


def search(graph, x, thresholds):
    """Number of thresholds that are not above each sample, by bisection.

    Parameters
    ----------
    graph : Graph
    x : str
        Finite samples of shape (n_inputs, n_samples), or NaN, which is below all.
    thresholds : ndarray of shape (n_inputs, n_thresholds)
        Increasing along each row; infinite where there are no more.

    Returns
    -------
    place : str
        Indices of shape (n_inputs, n_samples) into rows of `stride_of(thresholds)`
        places, one row after the other.
    first : ndarray of shape (n_inputs, 1)
        Where the rows begin.
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
    """Power of two above the number of thresholds, and above 1."""
    return 1 << max(1, thresholds.shape[1].bit_length())


def in_rows_of_stride(table, stride):
    """Table of shape (..., n_inputs, size) in the layout of `search`."""
    missing = stride - table.shape[-1]
    padded = np.pad(table, [(0, 0)] * (table.ndim - 1) + [(0, missing)])
    return padded.reshape(*table.shape[:-2], -1)


def thresholds_in_units(knots, centre, scale, dtype):
    """Smallest numbers whose scaled value (x - centre) / scale reaches each knot.

    Parameters
    ----------
    knots : ndarray of shape (n_inputs, n_knots)
        Of scaled values, in float64, as those are.
    centre, scale : ndarrays of shape (n_inputs, 1)
    dtype : numpy.dtype
        float32 or float64.

    Returns
    -------
    ndarray of shape (n_inputs, n_knots)
        In the given type.
    """
    # Floating-point numbers are ordered as the integers are that their bits spell, but
    # for the sign, so that a bisection over all of them takes a step for each bit.
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
