"""Formulas of the structures that explain a target.

The curves of a structure get their candidates here. Those of a pair of factors are
determined only up to constants, since (f + a)(g + b) is f g and curves of single
features. Such curves are chosen so that few of them remain.
"""

import numpy as np

from skkan.formulas._formula import Term
from skkan.formulas._primitives import LINEAR, ZERO
from skkan.structures._curve_fit import PolynomialCurve
from skkan.structures._law_structures import find_structures
from skkan.symbolic._beam_search import EdgeChoices, FormulaSearch
from skkan.symbolic._candidates import Candidate

# Share of a structure's error, below which a curve of a single feature is left out at
# once. Above, the search decides.
MIN_EFFECT = 0.3
MAX_STRUCTURES = 6  # whose curves get names
# Structures among which the fits that are left are divided; the first ones matter most.
MAX_SHARED = 3
EXACT_NATS = 2.0  # a row, above the floor of the loss, at which a formula is exact
N_SHIFTED = 3  # candidates of a curve for each constant that a factor may have


class StructureEdges:
    """Edges of a structure with candidates for their functions.

    Attributes
    ----------
    widths : tuple of int
    edges : list of EdgeChoices
    intercepts : ndarray of shape (1,)
    products : tuple of (node, factors)
    """

    def __init__(self, structure, proposer):
        self._structure, self._proposer = structure, proposer
        rows, model, link = structure.rows, structure.model, structure.link
        n_features = rows.X.shape[1]
        n_factors, n_products = sum(map(len, model.products)), len(model.products)
        behind = link.name != LINEAR.name
        n_curves = n_factors + n_features
        self.widths = (
            n_features,
            n_curves,  # a node within each curve, if it is one function in another
            *([n_factors + n_products] if n_products else []),
            *([1] if behind else []),
            1,
        )
        last = len(self.widths) - 1
        self._sum = (last - behind, 0)
        self._inner = iter(range(n_curves))
        constant, additive = self._separated()
        self.intercepts = np.array([0.0 if behind else constant])
        self.edges, self._candidates, products = [], {}, []
        for k, features in enumerate(model.products):
            start = sum(map(len, model.products[:k]))
            factors = tuple((2, start + own) for own in range(len(features)))
            for own, i in enumerate(features):
                curve = self._curve(i, self._factors[k][own], factors[own])
                self._candidates[k, own] = self._named(curve)
                self._add(curve, self._candidates[k, own])
            product = (2, n_factors + k)
            products.append((product, factors))
            self._add_fixed(product, self._sum, LINEAR)
        self.products = tuple(products)
        for i, coefficients in additive.items():
            self._add_additive(i, coefficients)
        if behind:
            self._add_fixed(self._sum, (last, 0), link.primitive, b=constant)
        self.edges.sort(key=lambda edge: edge.source[0])

    def _named(self, curve):
        """Candidates for a curve, with better functions of functions."""
        single = self._proposer.ranked(curve)
        return self._proposer.with_composed(curve, single, (1, next(self._inner)))

    def _separated(self):
        """Constant and curves of single features that the pairs do not express."""
        rows, model = self._structure.rows, self._structure.model
        size = rows.degree
        curves = {
            i: np.r_[0.0, model.additive[1 + k * size : 1 + (k + 1) * size]]
            for k, i in enumerate(rows.varying)
        }
        constant = model.additive[0]
        self._factors = [[c.copy() for c in factors] for factors in model.factors]
        partners = {}  # feature: pairs of (its own factor, the factor that it meets)
        for k, features in enumerate(model.products):
            if len(features) == 2:
                for own in (0, 1):
                    place = (k, own), (k, 1 - own)
                    partners.setdefault(features[own], []).append(place)
        self._partners = partners
        shifts = {}
        for i, places in partners.items():
            columns = [self._factors[k][own] for (k, own), _ in places]
            basis = rows.basis[i]
            inner = basis @ np.column_stack(columns)
            design = np.column_stack([inner, np.ones(len(inner))])
            amounts = np.linalg.lstsq(design, basis @ curves[i], rcond=1e-10)[0]
            for (_, met), amount, column in zip(places, amounts, columns, strict=False):
                shifts[met] = amount
                curves[i] = curves[i] - amount * column
        for (k, own), amount in shifts.items():
            self._factors[k][own][0] += amount
        for k, features in enumerate(model.products):
            if len(features) == 2:
                constant -= shifts[k, 0] * shifts[k, 1]
        return constant, curves

    def _curve(self, feature, coefficients, target):
        return PolynomialCurve.of_rows(
            self._structure.rows, feature, coefficients, target
        )

    def _add(self, curve, candidates):
        self.edges.append(
            EdgeChoices(
                curve.source, curve.target, candidates, 1.0, curve.std, required=False
            )
        )

    def _add_additive(self, feature, coefficients):
        """Add the curve of a single feature, unless it has no effect.

        A factor that the feature's own factor meets may have a constant. Without it
        the curve is another one.
        """
        curve = self._curve(feature, coefficients, self._sum)
        zero = Term(curve.source, curve.target, ZERO, d=curve.mean)
        zero = Candidate(zero, 0.0, np.inf)
        if self._effect(feature, coefficients) < MIN_EFFECT * self._structure.error:
            self._add(curve, [zero])
            return
        candidates = [zero, *self._named(curve)]
        for own, met in self._partners.get(feature, []):
            factor = self._factors[own[0]][own[1]]
            constants = [c.term.d for c in self._candidates[met][:N_SHIFTED]]
            for constant in dict.fromkeys(constants):
                shifted = coefficients + constant * factor
                shifted = self._curve(feature, shifted, self._sum)
                candidates += self._proposer.ranked(shifted)[:N_SHIFTED]
        self._add(curve, candidates)

    def _effect(self, feature, coefficients):
        """Deviation of a curve in y, as a share of the deviation of y."""
        structure = self._structure
        values = structure.rows.basis[feature] @ coefficients
        weight = structure.weight
        mean = np.average(values, weights=weight)
        square = weight @ (values - mean) ** 2 / structure.rows.weight.sum()
        return np.sqrt(square) / structure.scale

    def _add_fixed(self, source, target, primitive, **constants):
        term = Term(source, target, primitive, **constants)
        candidate = Candidate(term, 1.0, 0.0)
        self.edges.append(
            EdgeChoices(source, target, [candidate], 1.0, 1.0, required=False)
        )


def law_formulas(X, proposer, refit, last_refit, max_refits):
    """Formulas of the structures that explain a target.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    proposer : Proposer
    refit, last_refit : FormulaFit
        To some and to all rows.
    max_refits : int

    Returns
    -------
    list of FoundFormula, the cheapest first
    """
    names = {primitive.name for primitive in proposer.primitives}
    y, weight = last_refit.loss.target[:, 0], last_refit.loss.weight
    structures = find_structures(X, y, weight, names)[:MAX_STRUCTURES]
    found, least = [], np.inf
    for k, structure in enumerate(structures):
        left = max_refits - last_refit.budget.used
        if left <= 0:
            break
        nats = weight.sum() * np.log(max(structure.error, last_refit.loss.floor))
        if least < nats:
            continue  # a formula is shorter than the errors of these curves are
        chosen = StructureEdges(structure, proposer)
        search = FormulaSearch(
            widths=chosen.widths,
            edges=chosen.edges,
            intercepts=chosen.intercepts,
            refit=refit,
            last_refit=last_refit,
            max_refits=max(left // min(len(structures) - k, MAX_SHARED), 1),
            products=chosen.products,
        )
        found += search.found()
        least = min([least, *(f.cost for f in found)])
        if found and least <= last_refit.loss.least_nats + EXACT_NATS * weight.sum():
            break
    return sorted(found, key=lambda each: each.cost)
