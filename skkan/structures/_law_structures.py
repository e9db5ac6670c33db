"""The search for the smallest structures y = F(u) that explain a target.

u is a sum of curves and of products of curves, F one of a few outer functions. The
search begins with the sum and adds one product, or one factor, at a time. Description
lengths decide: without noise they follow the errors.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from skkan.structures._curve_fit import (
    CurveModel,
    CurveRows,
    explained_by_product,
    fitted,
    fitted_sum,
    with_product,
)
from skkan.structures._links import LINKS, Link

MIN_DEGREE, MAX_DEGREE = 3, 12
ROWS_PER_CONSTANT = 20  # of the additive part
MAX_PRODUCTS = 3
MAX_TRIED = 6  # products that are fitted of all that could be added
# Errors below this share of the deviation of y may be those of the polynomials.
CURVE_ERROR = 1e-4
# Of the errors above the least, for structures that are as good. Errors of different
# outer functions are of first order, and compare only roughly.
MAX_NATS = 40.0
N_GROWN = 4  # outer functions, best by the sum and by one product, that go further
N_LEADING = 4  # structures at least, where fewer are as good


@dataclass(frozen=True, eq=False)
class LawStructure:
    """An outer function, and the sums and products behind it.

    Attributes
    ----------
    link : Link
    model : CurveModel
    rows : CurveRows
    weight : ndarray of shape (n_samples,)
        Of the rows in fits of u.
    scale : float
        Standard deviation of y.
    error : float
        Root mean square error of y, to first order, as a share of its deviation. The
        mean is over the rows less the constants.
    nats : float
        Description length, up to a constant of the rows.
    """

    link: Link
    model: CurveModel
    rows: CurveRows
    weight: np.ndarray
    scale: float
    error: float
    nats: float


def find_structures(X, y, weight, names, max_products=MAX_PRODUCTS):
    """Structures that explain the rows about as well as the best one.

    That of least description length is the first. Others with as small errors follow,
    simple ones first, and then some that are next in description length.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y, weight : ndarray of shape (n_samples,)
    names : set of str
        Outer functions that are allowed.
    max_products : int

    Returns
    -------
    list of LawStructure
    """
    n_features = X.shape[1]
    degree = int(weight.sum()) // (ROWS_PER_CONSTANT * n_features)
    rows = CurveRows(X, weight, min(max(degree, MIN_DEGREE), MAX_DEGREE))
    mean = np.average(y, weights=weight)
    scale = np.sqrt(np.average((y - mean) ** 2, weights=weight)) or 1.0
    searches = []
    for link in LINKS:
        behind = link.behind(y, weight) if link.name in names else None
        if behind is not None:
            searches.append(_LinkSearch(rows, link, *behind, scale))
    first = [search.first(max_products) for search in searches]
    found = list(itertools.chain(*first))
    leading = np.argsort([min(s.nats for s in tried) for tried in first])
    for k in leading[:N_GROWN]:
        found += searches[k].grown(first[k], max_products)
    least = min(s.error for s in found)
    leading = sorted(found, key=lambda s: s.nats)
    good = [
        s
        for s in leading[1:]
        if s.error <= CURVE_ERROR or weight.sum() * np.log(s.error / least) <= MAX_NATS
    ]
    rest = [s for s in leading[1:] if s not in good][: max(N_LEADING - len(good), 0)]
    return [leading[0], *sorted(good, key=_size), *rest]


def _size(structure):
    """Number of curves, and the place of the link among all."""
    model = structure.model
    n_curves = sum(map(len, model.products))
    behind = structure.link.name != "x"
    return n_curves + 2 * behind + LINKS.index(structure.link) / len(LINKS)


@dataclass(frozen=True, eq=False)
class _LinkSearch:
    """Search behind one outer function."""

    rows: CurveRows
    link: Link
    u: np.ndarray
    weight: np.ndarray
    scale: float  # deviation of y

    def first(self, max_products):
        """The sum, and all structures that are next to it."""
        current = self._structure(fitted_sum(self.rows, self.u, self.weight))
        return [current, *self._next(current, max_products)]

    def grown(self, tried, max_products):
        """Structures next to the best one, step by step, while they are better."""
        found, current = [], min(tried, key=lambda s: s.nats)
        while current.model.products:
            next_ones = self._next(current, max_products)
            found += next_ones
            best = min(next_ones, key=lambda s: s.nats, default=current)
            if best.nats >= current.nats:
                break
            current = best
        return found

    def _next(self, structure, max_products):
        return [
            self._structure(model)
            for model in self._neighbours(structure.model, max_products)
        ]

    def _neighbours(self, model, max_products):
        """Models with one product or one factor of a product more, or one less."""
        features = self.rows.varying
        sizes = (2, 3) if len(features) <= 4 and not model.products else (2,)
        moves = []
        if len(model.products) < max_products:
            for size in sizes:
                moves += [(model, s) for s in itertools.combinations(features, size)]
        if len(moves) > MAX_TRIED:
            gains = [
                explained_by_product(self.rows, self.u, self.weight, model, s)
                for _, s in moves
            ]
            moves = [moves[k] for k in np.argsort(gains)[-MAX_TRIED:]]
        for k, product in enumerate(model.products):
            rest = CurveModel(
                model.additive,
                model.products[:k] + model.products[k + 1 :],
                model.factors[:k] + model.factors[k + 1 :],
            )
            sizes = range(max(len(product) - 1, 2), len(product))
            for size in sizes:
                moves += [(rest, s) for s in itertools.combinations(product, size)]
            moves += [(rest, tuple(sorted({*product, i}))) for i in features]
            if len(model.products) > 1:
                yield fitted(self.rows, self.u, self.weight, rest)
        for rest, product in moves:
            if product not in model.products:
                yield with_product(self.rows, self.u, self.weight, rest, product)

    def _structure(self, model):
        n_rows = self.rows.weight.sum()
        n_free = max(n_rows - model.n_constants, 1.0)
        error = model.error / self.scale
        nats = 0.5 * n_rows * np.log(error**2 / n_rows + CURVE_ERROR**2)
        nats += 0.5 * np.log(n_rows) * model.n_constants
        error /= np.sqrt(n_free)
        errors = float(error), float(nats)
        return LawStructure(
            self.link, model, self.rows, self.weight, self.scale, *errors
        )
