"""A network whose edges are functions c f(a x + b): values and derivatives.

A `Term` is one edge that is not zero. A `Formula` sums, multiplies and composes terms.
Of the constants d of the functions c f(a x + b) + d that enter a node only the sum
matters. Functions behind a hidden node absorb it. Outputs keep it as an intercept, and
factors of products as a term of the function 1.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from skkan.formulas._primitives import CONSTANTS, ONE, Primitive


@dataclass(frozen=True, eq=False)
class Term:
    """An edge of a formula, c f(a x + b).

    Attributes
    ----------
    source, target : tuple of (int, int)
        Level and position of the nodes that it connects.
    primitive : Primitive
    a, b, c : float
    d : float
        Zero in a formula; candidates use it.
    held : frozenset of str
        Constants that keep their values when the others are fitted.
    required : bool
        Whether the term must stay, so that neither a nor c may become zero.
    """

    __module__ = "skkan.symbolic"

    source: tuple
    target: tuple
    primitive: Primitive
    a: float = 1.0
    b: float = 0.0
    c: float = 1.0
    d: float = 0.0
    held: frozenset = frozenset()
    required: bool = False

    @cached_property
    def free(self):
        """Names of the constants to be fitted."""
        return [
            name
            for name in CONSTANTS
            if name in self.primitive.constants and name not in self.held
        ]

    def at(self, constants):
        """Copy with other constants, given as pairs of name and value.

        A search makes millions of copies, and `replace` takes twenty times as long.
        """
        moved = object.__new__(Term)
        vars(moved).update(vars(self))
        vars(moved).update(constants)
        return moved

    def normalised(self):
        """Copy with the constants in normal form."""
        a, b, c, d = self.primitive.normalised(self.a, self.b, self.c, self.d)
        return replace(self, a=a, b=b, c=c, d=d)

    def behind(self, scale, shift):
        """Term with the same values at x' that this one has at x = scale x' + shift."""
        moved = replace(self, a=self.a * scale, b=self.b + self.a * shift)
        return moved.normalised()

    def argument(self, x):
        """Argument a x + b of the primitive."""
        return self.a * x + self.b


@dataclass(frozen=True, eq=False)
class Formula:
    """Outputs as sums of terms, whose arguments are sums of terms, level by level.

    A term leads from one level to any later one.

    Attributes
    ----------
    widths : tuple of int
        Numbers of inputs, of nodes of each hidden level and of outputs.
    terms : tuple of Term
        Sorted by the level of their source.
    intercepts : ndarray of shape (n_outputs,)
    held : frozenset of int
        Outputs whose intercept keeps its value when constants are fitted.
    products : tuple of (node, factors), default=()
        Nodes that are products, each with a tuple of other nodes of its level. Nodes
        are pairs (level, position), as of terms.
    """

    __module__ = "skkan.symbolic"

    widths: tuple
    terms: tuple
    intercepts: np.ndarray
    held: frozenset = field(default_factory=frozenset)
    products: tuple = ()

    @classmethod
    def of_terms(cls, widths, terms, intercepts, edge_stds, products=()):
        """Formula in normal form, without constants that other constants express.

        Terms that lie on no path from an input to an output are left out, and so are
        products of which a factor is. Hidden nodes have no constant, but for factors of
        products. The term of largest standard deviation into a hidden node has the
        factor 1 or -1, which is held.

        Parameters
        ----------
        widths : tuple of int
        terms : list of Term
            They may have a constant d.
        intercepts : ndarray of shape (n_outputs,)
        edge_stds : dict
            Standard deviation of each edge, by (source, target).
        products : tuple of (node, factors), default=()
        """
        last = len(widths) - 1
        terms, products = _connected(terms, products, last)
        constants = {(last, o): value for o, value in enumerate(intercepts)}
        scales, done = {}, []
        for term in terms:
            if term.primitive == ONE:
                constants[term.target] = constants.get(term.target, 0.0) + term.c
        terms = [term for term in terms if term.primitive != ONE]
        for level in range(last):
            leaving = []
            for product, factors in products:
                if product[0] == level:
                    scales[product] = np.prod([scales.get(f, 1.0) for f in factors])
                    done += _factor_constants(factors, done, constants, scales)
            for term in terms:
                if term.source[0] == level:
                    scale = scales.get(term.source, 1.0)
                    shift = constants.get(term.source, 0.0) if level else 0.0
                    moved = term.behind(scale, shift)
                    start = constants.get(term.target, 0.0)
                    constants[term.target] = start + moved.d
                    leaving.append(replace(moved, d=0.0))
            done += _with_unit_factors(leaving, scales, edge_stds, last)
        intercepts = np.array([constants[last, o] for o in range(widths[-1])])
        done = sorted(done, key=lambda term: term.source[0])
        return cls(tuple(widths), tuple(done), intercepts, products=products)

    @property
    def steps(self):
        """Terms and products in the order in which they are evaluated."""

        def order(step):
            return step.source[0] if isinstance(step, Term) else step[0][0] - 0.5

        return sorted((*self.terms, *self.products), key=order)

    def nodes(self, X):
        """Values of all nodes, or None if an argument leaves a function's domain.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_inputs)

        Returns
        -------
        list of ndarray of shape (n_samples, n_nodes), level by level
        """
        found = self.propagated(X, lambda term, z: None)
        return None if found is None else found[1]

    def __call__(self, X):
        """Outputs, ndarray of shape (n_samples, n_outputs); NaN where undefined."""
        with np.errstate(all="ignore"):
            return self.propagated(X)[1][-1]

    def propagated(self, X, instead=None):
        """Terms, and values of all nodes.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_inputs)
        instead : callable, default=None
            Maps a term and an argument outside of its domain to the term that takes its
            place, or to None, which ends the evaluation. By default domains do not
            matter.

        Returns
        -------
        (list of Term, list of ndarray of shape (n_samples, n_nodes)) or None
        """
        nodes = [X, *(np.zeros((len(X), width)) for width in self.widths[1:])]
        nodes[-1] += self.intercepts
        terms = []
        for term in self.steps:
            if not isinstance(term, Term):
                (level, position), factors = term
                columns = [column for _, column in factors]
                nodes[level][:, position] = nodes[level][:, columns].prod(axis=1)
                continue
            x = nodes[term.source[0]][:, term.source[1]]
            z = term.argument(x)
            if instead is not None and not term.primitive.admits(z):
                term = instead(term, z)
                if term is None:
                    return None
                z = term.argument(x)
            terms.append(term)
            values = term.c * term.primitive.function(z)
            nodes[term.target[0]][:, term.target[1]] += values
        return terms, nodes

    @property
    def constants(self):
        """Values of all free constants, ndarray of shape (n_free,)."""
        of_terms = [getattr(term, name) for term in self.terms for name in term.free]
        return np.array([*of_terms, *self.intercepts[self._free_outputs]])

    def with_constants(self, values):
        """Copy with other values of the free constants."""
        values = np.asarray(values, dtype=np.float64).tolist()
        start, terms = 0, []
        for term in self.terms:
            end = start + len(term.free)
            terms.append(term.at(zip(term.free, values[start:end], strict=True)))
            start = end
        intercepts = self.intercepts.copy()
        intercepts[self._free_outputs] = values[start:]
        return replace(self, terms=tuple(terms), intercepts=intercepts)

    def with_held(self, index, value):
        """Copy in which the free constant `index` is held at a value.

        A term whose a or c becomes zero is left out, and so are terms that then lie on
        no path from an input to an output.
        """
        owner, name = self.owner(index)
        if owner is None:
            intercepts = self.intercepts.copy()
            intercepts[name] = value
            return replace(self, intercepts=intercepts, held=self.held | {name})
        if value == 0 and name != "b":
            return self._without(owner)
        held = replace(owner, held=owner.held | {name}, **{name: value})
        terms = tuple(held if term is owner else term for term in self.terms)
        return replace(self, terms=terms)

    def owner(self, index):
        """Owner of the free constant `index`: (term, name), or (None, output)."""
        for term in self.terms:
            if index < len(term.free):
                return term, term.free[index]
            index -= len(term.free)
        return None, self._free_outputs[index]

    def _without(self, left_out):
        """Copy without one term; the formula itself if a required term would go."""
        terms = [term for term in self.terms if term is not left_out]
        terms, products = _connected(terms, self.products, len(self.widths) - 1)
        n_required = sum(term.required for term in self.terms)
        if sum(term.required for term in terms) < n_required:
            return self
        return replace(self, terms=tuple(terms), products=products)

    @property
    def _free_outputs(self):
        """Outputs whose intercept is fitted."""
        return [o for o in range(len(self.intercepts)) if o not in self.held]

    def jacobian(self, nodes):
        """Derivatives of the outputs with respect to the free constants.

        Parameters
        ----------
        nodes : list of ndarray
            The value of `nodes`.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs, n_free)
        """
        unit = np.eye(nodes[-1].shape[1])
        n_free = sum(len(term.free) for term in self.terms) + len(self._free_outputs)
        columns = np.empty((n_free, *nodes[-1].shape))
        index = n_free
        for output in reversed(self._free_outputs):
            index -= 1
            columns[index] = unit[output]
        # Derivatives of the outputs with respect to the nodes, from the last level on.
        above = {(len(nodes) - 1, o): row for o, row in enumerate(unit)}
        for term in reversed(self.steps):
            if not isinstance(term, Term):
                product, factors = term
                for factor in factors:
                    others = [column for _, column in factors if column != factor[1]]
                    rest = nodes[factor[0]][:, others].prod(axis=1)[:, None]
                    chain = rest * above.get(product, 0.0)
                    above[factor] = above.get(factor, 0.0) + chain
                continue
            x = nodes[term.source[0]][:, term.source[1]]
            z = term.argument(x)
            chain = above.get(term.target, 0.0)
            slope = (term.c * term.primitive.slope(z))[:, None] * chain
            if term.source[0] > 0:
                above[term.source] = above.get(term.source, 0.0) + term.a * slope
            for name in reversed(term.free):
                index -= 1
                if name == "a":
                    columns[index] = slope * x[:, None]
                elif name == "b":
                    columns[index] = slope
                else:
                    columns[index] = term.primitive.function(z)[:, None] * chain
        return np.moveaxis(columns, 0, -1)


def _connected(terms, products, last):
    """Terms and products on a path from an input to an output.

    A product needs a term into each of its factors, other than a constant.
    """
    while True:
        targets = {term.target for term in terms if term.primitive != ONE}
        whole = tuple(p for p in products if targets.issuperset(p[1]))
        targets |= {product for product, _ in whole}
        sources = {term.source for term in terms}
        whole = tuple(p for p in whole if p[0] in sources)
        sources |= {factor for _, factors in whole for factor in factors}
        kept = [
            term
            for term in terms
            if (term.source[0] == 0 or term.source in targets)
            and (term.target[0] == last or term.target in sources)
        ]
        if len(kept) == len(terms) and len(whole) == len(products):
            return kept, whole
        terms, products = kept, whole


def _factor_constants(factors, terms, constants, scales):
    """Terms of the function 1 for the constants of the factors of a product."""
    sources = {term.target: term.source for term in terms}
    return [
        Term(sources[factor], factor, ONE, c=constants[factor] / scales[factor])
        for factor in factors
        if constants.get(factor, 0.0) != 0
    ]


def _with_unit_factors(leaving, scales, edge_stds, last):
    """Terms of one level, scaled so that one term into each hidden node has |c| = 1.

    It is the term of largest standard deviation among those of the first level that
    leads into the node. The function enters into `scales` the factors by which it
    divides the nodes.
    """
    leaders = {}
    for term in sorted(leaving, key=lambda term: edge_stds[term.source, term.target]):
        if term.target[0] != last and term.target not in scales:
            leaders[term.target] = term  # the largest comes last
    done = []
    for target, leader in leaders.items():
        scales[target] = _unit_factor(leader)
    for term in leaving:
        moved = replace(term, c=term.c / scales.get(term.target, 1.0)).normalised()
        if term is leaders.get(term.target):
            name = "c" if "c" in term.primitive.constants else "b"
            value = getattr(moved, name)
            if abs(value) < 2:  # 0, 1 or -1 but for rounding errors
                value = float(round(value))
            moved = replace(moved, held=moved.held | {name}, **{name: value})
        done.append(moved)
    return done


def _unit_factor(term):
    """Factor by which a term has to be divided so that c = 1, or b = 0 without c."""
    if "c" in term.primitive.constants:
        return term.c
    with np.errstate(all="ignore"):  # exp(a x + b) = exp(b) exp(a x)
        shifted, at_zero = term.primitive.function(np.array([term.b, 0.0]))
        factor = term.c * shifted / at_zero
    return factor if np.isfinite(factor) and factor != 0 else term.c
