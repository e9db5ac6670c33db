"""Ranked candidates c f(a x + b) + d for a curve.

The curve is evaluated where the training rows are. For every primitive a coarse scan
over (a, b) finds a start, with c and d by linear least squares. A local fit of all
constants follows for the best primitives.
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from skkan.formulas._formula import Formula, Term
from skkan.formulas._primitives import LINEAR, ZERO
from skkan.structures._links import LINKS
from skkan.symbolic._description_length import FormulaFit
from skkan.symbolic._formula_losses import FormulaSquaredError

N_SCAN_POINTS = 120  # of a curve, one in each of equal parts of its range
UNIFORM_WEIGHT = 0.1  # of all points; the rest of the weight follows the rows
DOMAIN_MARGIN = 2e-3  # distance of arguments from the end of a domain, in half-ranges
N_LOCAL_FITS = 14  # best primitives of the scan, which get a local fit
LOCAL_FIT_TOL = 5e-7  # half the relative decrease of the loss at which a local fit ends
N_INNER = 2  # functions that are tried inside of each outer function
ENDS_OF_TWO = [((0, 0), (1, 0)), ((1, 0), (2, 0))]  # edges of one function in another
# Errors below this share of a curve's deviation may be the spline's own.
SPLINE_ERROR = 1e-3

# Values of the scan, for a curve on [-1, 1].
RATES = np.r_[-np.geomspace(0.1, 10, 16)[::-1], np.geomspace(0.1, 10, 16)]
FREQUENCIES = np.geomspace(0.25, 16, 28)
CENTRES = np.linspace(-2.5, 2.5, 21)
PHASES = np.linspace(-np.pi / 2, np.pi / 2, 12, endpoint=False)
BEYOND = np.geomspace(DOMAIN_MARGIN, 30, 30)  # distances of a pole from [-1, 1]
ENDS = np.r_[
    DOMAIN_MARGIN, np.linspace(0, 1, 15)[1:-1], 1 - DOMAIN_MARGIN
]  # shares of a finite domain


@dataclass(frozen=True, eq=False)
class Candidate:
    """A function that may replace a curve.

    Attributes
    ----------
    term : Term
        Primitive and constants, in the units of the curve.
    r2 : float
        Share of the curve's variance over the training rows that it explains.
    score : float
        Candidates are ranked by it, lower is better: n / 2 log(1 - R2) plus the cost of
        constants and complexity. Errors that a spline cannot resolve do not count.
    inner : Term, default=None
        Function inside of that of `term`, whose target is the source of `term`.
    """

    __module__ = "skkan.symbolic"

    term: Term
    r2: float
    score: float
    inner: Term | None = None

    @property
    def error(self):
        """Root mean square error, in standard deviations of the curve."""
        return float(np.sqrt(max(1 - self.r2, 0.0)))


def curve_points(edge):
    """Points, values and weights of a curve over its training rows.

    Returns
    -------
    x, values, weight : ndarrays of shape (N_SCAN_POINTS,)
        The weights sum to one.
    """
    centres = (np.arange(N_SCAN_POINTS) + 0.5) / N_SCAN_POINTS
    x = edge.low + (edge.high - edge.low) * np.r_[0.0, centres[1:-1], 1.0]
    n_bins = len(edge.density)
    density = np.interp(centres, (np.arange(n_bins) + 0.5) / n_bins, edge.density)
    weight = density / max(density.sum(), np.finfo(float).tiny)
    weight = (1 - UNIFORM_WEIGHT) * weight + UNIFORM_WEIGHT / N_SCAN_POINTS
    return x, edge(x), weight / weight.sum()


def rank_candidates(edge, library, n_rows):
    """Candidates for the curve of an edge, best first.

    Parameters
    ----------
    edge : EdgeFunction
    library : sequence of Primitive
    n_rows : int
        Number of training rows.

    Returns
    -------
    list of Candidate
    """
    return _ranked(edge, *curve_points(edge), library, n_rows)


def _ranked(edge, x, values, weight, library, n_rows):
    """Candidates for values of a curve at some points, best first."""
    mean = weight @ values
    deviation = np.sqrt(weight @ (values - mean) ** 2)
    half = (edge.high - edge.low) / 2
    if not (half > 0 and deviation > 0):
        term = Term(edge.source, edge.target, ZERO, d=mean)
        return [Candidate(term, 1.0, 0.0)]
    u = (x - (edge.low + edge.high) / 2) / half
    target = (values - mean) / deviation
    floor = math.sqrt(2) * SPLINE_ERROR  # the loss is half the squared error
    loss = FormulaSquaredError(target[:, None], weight, np.ones(1), floor)
    fit = FormulaFit(u[:, None], loss, n_names=1)
    scanned = [_scan(primitive, u, target, weight) for primitive in library]
    scanned = sorted((s for s in scanned if s is not None), key=lambda s: s[0])
    found = []
    for position, (_, primitive, constants) in enumerate(scanned):
        if position < N_LOCAL_FITS:
            constants = _local_fit(primitive, constants, fit)
        a, b, c, d = constants
        with np.errstate(all="ignore"):
            error = c * primitive.function(a * u + b) + d - target
            loss = weight @ error**2
        if not np.isfinite(loss):
            continue
        # Back to the units of the curve: u = (x - middle) / half.
        b = b - a * (edge.low + edge.high) / 2 / half
        a, c, d = a / half, c * deviation, mean + d * deviation
        term = Term(edge.source, edge.target, primitive, a, b, c, d).normalised()
        n_constants = len(primitive.constants)
        cost = 0.5 * n_rows * np.log(loss + SPLINE_ERROR**2)
        cost += 0.5 * np.log(n_rows) * n_constants + np.log(2) * primitive.complexity
        found.append(Candidate(term, float(1 - loss), float(cost)))
    return sorted(found, key=lambda candidate: candidate.score)


def composed_candidates(edge, library, n_rows, node):
    """Candidates c F(f(a x + b) + e) + d for the curve of an edge, best first.

    Parameters
    ----------
    edge : PolynomialCurve
    library : sequence of Primitive
    n_rows : int
    node : tuple of (int, int)
        Hidden node between f and F.

    Returns
    -------
    list of Candidate
    """
    x, values, weight = curve_points(edge)
    mean = weight @ values
    deviation = np.sqrt(weight @ (values - mean) ** 2)
    if not deviation > 0:
        return []
    target = values / deviation
    loss = FormulaSquaredError(target[:, None], weight, np.ones(1), SPLINE_ERROR)
    fit = FormulaFit(x[:, None], loss, n_names=1)
    names = [primitive.name for primitive in library]
    straight = [p for p in library if p not in (ZERO, LINEAR)]
    found = []
    for link, sign in itertools.product(LINKS, (1.0, -1.0)):
        if not (link.is_scale_free and link.name in names):
            continue
        behind = link.behind(sign * target, weight)
        if behind is None:
            continue
        inner_weight = behind[1] / max(behind[1].sum(), np.finfo(float).tiny)
        inside = _ranked(edge, x, behind[0], inner_weight, straight, n_rows)
        for candidate in inside[:N_INNER]:
            inner = replace(candidate.term, source=(0, 0), target=(1, 0))
            outer = Term((1, 0), (2, 0), link.primitive, c=sign)
            start = Formula.of_terms(
                (1, 1, 1), [inner, outer], np.zeros(1), dict.fromkeys(ENDS_OF_TWO, 1.0)
            )
            formula = fit(start, max_nfev=30, tol=LOCAL_FIT_TOL)
            if formula is None or len(formula.terms) < 2:
                continue
            error = weight @ (formula(x[:, None])[:, 0] - target) ** 2
            inner, outer = formula.terms
            cost = 0.5 * n_rows * np.log(error + SPLINE_ERROR**2)
            cost += 0.5 * np.log(n_rows) * len(formula.constants)
            cost += np.log(2) * (
                inner.primitive.complexity + outer.primitive.complexity
            )
            constants = {
                "c": outer.c * deviation,
                "d": formula.intercepts[0] * deviation,
            }
            outer = replace(outer, source=node, target=edge.target, **constants)
            inner = replace(inner, source=edge.source, target=node)
            found.append(Candidate(outer, float(1 - error), float(cost), inner))
    return sorted(found, key=lambda candidate: candidate.score)


def _scan(primitive, u, target, weight):
    """(loss, primitive, constants) of least loss in the coarse scan, or None."""
    if not primitive.constants:
        return float(weight @ target**2), primitive, (1.0, 0.0, 0.0, 0.0)
    a, b = _grid(primitive)
    z = a[:, None] * u + b[:, None]
    low, high = primitive.domain
    inside = (z.min(1) > low) & (z.max(1) < high)
    a, b, z = a[inside], b[inside], z[inside]
    if not len(a):
        return None
    with np.errstate(all="ignore"):
        values = primitive.function(z)
        mean = values @ weight
        centred = values - mean[:, None]
        variance = centred**2 @ weight
        covariance = centred @ (weight * target)
        gain = covariance**2 / variance
    gain = np.where(np.isfinite(gain), gain, -np.inf)
    best = int(np.argmax(gain))
    if not np.isfinite(gain[best]):
        return None
    c = covariance[best] / variance[best]
    loss = float(weight @ target**2 - gain[best])
    return loss, primitive, (a[best], b[best], c, -c * mean[best])


def _grid(primitive):
    """Pairs (a, b) to try, two ndarrays."""
    low, high = primitive.domain
    if primitive.scan == "":
        return np.ones(1), np.zeros(1)
    if primitive.scan == "a":
        return RATES, np.zeros(len(RATES))
    if np.isfinite(low) and np.isfinite(high):  # from one point of it to another
        first, last = (low + (high - low) * end for end in np.meshgrid(ENDS, ENDS))
        first, last = first[first < last], last[first < last]
        a, b = (last - first) / 2, (first + last) / 2
        return (np.r_[a, -a], np.r_[b, b])
    if np.isfinite(low) or np.isfinite(high):
        away = low + 1 + BEYOND if np.isfinite(low) else high - 1 - BEYOND
        sizes = np.ones(1) if primitive.scan == "b" else np.abs(RATES)
        pairs = [
            (sign * size, low + size * (shift - low) if np.isfinite(low) else shift)
            for sign in (1.0, -1.0)
            for size in sizes
            for shift in away
        ]
        return tuple(np.array(pairs).T)
    if primitive.scan == "b":
        return np.ones(len(CENTRES)), -CENTRES
    rate, centre = (part.ravel() for part in np.meshgrid(RATES, CENTRES))
    frequency, phase = (part.ravel() for part in np.meshgrid(FREQUENCIES, PHASES))
    return np.r_[rate, frequency], np.r_[-rate * centre, phase]


def _local_fit(primitive, constants, fit):
    """Constants (a, b, c, d) after a local least squares fit."""
    term = Term((0, 0), (1, 0), primitive, *constants).normalised()
    start = Formula((1, 1), (replace(term, d=0.0),), np.array([term.d]))
    found = fit(start, max_nfev=30, tol=LOCAL_FIT_TOL)
    if found is None:
        return constants
    (term,), (d,) = found.terms, found.intercepts
    return term.a, term.b, term.c, d
