"""Public functions use one thread of torch, so that forked processes can call them.

Threads of torch do not survive a fork: a child that hands work to them waits for ever.
"""

import inspect
import multiprocessing
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sympy
import torch
from numpy.testing import assert_array_equal
from torch.utils._python_dispatch import TorchDispatchMode

import skkan
from skkan import KANClassifier, KANRegressor, export, inspection, symbolic
from skkan.inspection import (
    EdgeFunctionDisplay,
    EffectDisplay,
    GridDisplay,
    ImportanceDisplay,
    KANDisplay,
    LossCurveDisplay,
    SummaryDisplay,
    WaterfallDisplay,
)
from skkan.symbolic import SymbolicKANClassifier, SymbolicKANRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# They take and return tensors: what threads they use is for the user to say.
OF_TENSORS = {
    "BSplineBasis",
    "KANLayer",
    "KANNetwork",
    "SparsityPenalty",
    "extend_grid",
    "grid_from_samples",
}
rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (60, 2))
Y = np.exp(X[:, 0]) + X[:, 1]
LABELS = (Y > 1).astype(int)
CODES = np.column_stack([X[:, 0], rng.integers(0, 3, 60)])
SHORT = {"max_iter": 3, "random_state": 0}


class OneThread(TorchDispatchMode):
    """Raises where an operation of torch may use several threads."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert torch.get_num_threads() == 1, function
        return function(*args, **(kwargs or {}))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def public_functions():
    """Names of all functions, methods and properties of the public modules."""
    for module in (skkan, inspection, symbolic, export):
        for name in set(module.__all__) - OF_TENSORS:
            owner = getattr(module, name)
            if not inspect.isclass(owner):
                if callable(owner):
                    yield name
                continue
            for attribute in dir(owner):
                found = inspect.getattr_static(owner, attribute)
                for inner in ("fget", "func", "fn", "__func__"):
                    found = getattr(found, inner, found)
                is_own = str(getattr(found, "__module__", "")).startswith("skkan")
                is_public = attribute == "__call__" or attribute[0] != "_"
                if callable(found) and is_own and is_public:
                    yield f"{name}.{attribute}"


@pytest.fixture(scope="module")
def calls():
    """A call of each of them, by its name."""
    regressor = KANRegressor((1,), solver="lm", **SHORT).fit(X, Y)
    additive = KANRegressor((), categorical_features=[1], random_state=0)
    additive = additive.fit(CODES, Y)
    classifier = KANClassifier((1,), solver="lm", **SHORT).fit(X, LABELS)
    edges = inspection.edge_functions(regressor, with_posterior=True)
    bars = inspection.edge_functions(additive)[1]
    softplus = symbolic.Primitive(
        "softplus", torch.nn.functional.softplus, lambda x: sympy.log(1 + sympy.exp(x))
    )
    settings = {"primitives": [softplus], "max_refits": 2}
    formula = symbolic.fit_symbolic(regressor, X, Y, **settings)
    labels = symbolic.fit_symbolic(classifier, X, LABELS, **settings)
    found, edge = formula.formula_, formula.edges_[0]
    term = edge.candidates[0].term
    spline = symbolic.SplineCurve.of_edge(edges[0], "phi")
    category = symbolic.CategoryCurve.of_edge(bars, "psi")
    stds = {(each.source, each.target): each.std for each in edges}
    x, symbol = X[:, 0], sympy.Symbol("x")
    known = {
        "KANRegressor.fit": lambda: KANRegressor((1,), **SHORT).fit(X, Y),
        "KANRegressor.partial_fit": lambda: KANRegressor((1,)).partial_fit(X, Y),
        "KANRegressor.predict": lambda: regressor.predict(X, return_std=True),
        "KANRegressor.network_": lambda: regressor.network_,
        "KANClassifier.fit": lambda: KANClassifier((1,), **SHORT).fit(X, LABELS),
        "KANClassifier.partial_fit": lambda: KANClassifier((1,)).partial_fit(
            X, LABELS, classes=[0, 1]
        ),
        "KANClassifier.network_": lambda: classifier.network_,
        "SymbolicKANRegressor.fit": lambda: SymbolicKANRegressor(
            KANRegressor((), **SHORT), **settings
        ).fit(X, Y),
        "SymbolicKANClassifier.fit": lambda: SymbolicKANClassifier(
            KANClassifier((), **SHORT), **settings
        ).fit(X, LABELS),
        "fit_symbolic": lambda: symbolic.fit_symbolic(regressor, X, Y, **settings),
        "rank_candidates": lambda: symbolic.rank_candidates(edges[0], [softplus], 60),
        "named_splines": lambda: symbolic.named_splines(symbolic.to_sympy(regressor)),
        "prune": lambda: inspection.prune(regressor, X, Y),
        "effects": lambda: inspection.effects(regressor, X),
        "explain": lambda: inspection.explain(regressor, X),
        "edge_functions": lambda: inspection.edge_functions(
            regressor, with_posterior=True
        ),
        "gradient": lambda: inspection.gradient(regressor, X),
        "to_onnx": lambda: export.to_onnx(classifier),
        "register_converters": lambda: _converted(regressor),
        "EdgeFunction.category_values": lambda: bars.category_values,
        "CategoryCurve.of_edge": lambda: symbolic.CategoryCurve.of_edge(bars, "psi"),
        "SplineCurve.of_edge": lambda: symbolic.SplineCurve.of_edge(edges[0], "phi"),
        "CategoryCurve.__call__": lambda: category(np.arange(3.0)),
        "CategoryCurve.derivative": lambda: category.derivative(np.arange(3.0)),
        "Formula.jacobian": lambda: found.jacobian(found.nodes(X)),
        "Formula.of_terms": lambda: found.of_terms(
            found.widths, found.terms, found.intercepts, stds
        ),
        "Formula.owner": lambda: found.owner(0),
        "Formula.with_constants": lambda: found.with_constants(found.constants),
        "Formula.with_held": lambda: found.with_held(0, 1.0),
        "Primitive.normalised": lambda: softplus.normalised(1.0, 0.0, 1.0, 0.0),
        "Primitive.bounds": lambda: softplus.bounds(np.zeros(1), np.ones(1)),
        "SymbolicKANRegressor.picked": lambda: formula.picked(0),
        "SymbolicKANClassifier.picked": lambda: labels.picked(0),
        "Term.at": lambda: term.at({"a": 1.0}),
        "Term.behind": lambda: term.behind(1.0, 0.0),
    }
    of_models = EdgeFunctionDisplay, GridDisplay, KANDisplay, LossCurveDisplay
    of_rows = EffectDisplay, ImportanceDisplay, WaterfallDisplay, SummaryDisplay
    for kind in of_models + of_rows:
        takes = (regressor, X) if kind in of_rows else (regressor,)
        draw = partial(kind.from_estimator, *takes)
        known[f"{kind.__name__}.from_estimator"] = draw
        known[f"{kind.__name__}.plot"] = draw().plot
    # The others take a model, rows, a curve's argument or a symbol.
    for name in ("edge_table", "intercepts", "node_importances", "node_names"):
        known[name] = partial(getattr(inspection, name), regressor)
    for name in ("to_sympy", "to_latex", "to_numpy_source", "feature_symbols"):
        known[name] = partial(getattr(symbolic, name), formula)
    values = {
        "KANClassifier": (classifier, X),
        "SymbolicKANRegressor": (formula, X),
        "SymbolicKANClassifier": (labels, X),
        "EdgeFunction": (edges[0], x),
        "SplineCurve": (spline, x),
        "CategoryCurve": (category, symbol),
        "CurveDerivative": (symbolic.CurveDerivative(spline, 1), x),
        "Formula": (found, X),
        "Primitive": (softplus, x),
        "Term": (term, x),
        "Candidate": (edge.candidates[0], None),
        "SymbolicEdge": (edge, None),
        "FrontFormula": (formula.formulas_[0], None),
    }
    for name in set(public_functions()) - set(known):
        owner, _, attribute = name.partition(".")
        value, argument = values[owner]
        if attribute in ("expression", "piecewise"):
            argument = symbol
        known[name] = partial(_read, value, attribute, argument)
    return known


def _read(value, attribute, argument):
    """A property, or a method of at most one argument."""
    found = getattr(value, attribute)
    if not callable(found):
        return found
    takes_argument = inspect.signature(found).parameters
    return found(argument) if takes_argument else found()


def _converted(model):
    from skl2onnx import to_onnx

    export.register_converters()
    return to_onnx(model, X[:1].astype(np.float32))


@pytest.mark.parametrize("name", sorted(set(public_functions())))
def test_torch_has_one_thread_in_every_public_function(name, calls, two_threads):
    """A function that is added has to be called here, or fails for want of a call."""
    with OneThread():
        calls[name]()
    plt.close("all")
    assert torch.get_num_threads() == 2


MANY = np.tile(X, (600, 1))  # torch shares operations on that many rows out to threads


def fits():
    """Models fitted anew, by each solver, by the search, and as formulas."""
    many_classes = np.digitize(Y, [0.7, 1.4])
    return [
        KANRegressor((2,), solver="lm", prune_threshold=0.1, **SHORT).fit(X, Y),
        KANClassifier((), **SHORT).fit(X, many_classes),
        KANClassifier((2,), solver="lbfgs", **SHORT).fit(X, LABELS),
        KANRegressor((2,), solver="adam", **SHORT).fit(X, Y).partial_fit(X, Y),
        KANRegressor(**SHORT).fit(X, Y),
        SymbolicKANRegressor(
            KANRegressor((), **SHORT), primitives=symbolic.LIBRARY[:3], max_refits=1
        ).fit(X, Y),
    ]


def readings(models):
    """What models say of many rows, a list of arrays."""
    read = [model.predict(MANY) for model in models]
    for classifier in models[1:3]:
        read += [classifier.predict_proba(MANY), classifier.decision_function(MANY)]
    read.append(models[0].predict(MANY, return_std=True)[1])
    read.append(inspection.edge_functions(models[0])[0](MANY[:, 0]))
    return read


# From Python 3.12 on it warns where other threads run, such as those of torch.
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forked_process_computes_what_its_parent_has_computed(two_threads):
    """Also after the parent has fitted, predicted and used threads of torch itself."""
    models = fits()
    expected = 2 * readings(models)
    torch.ones(10**6).exp().sum()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        sender.send(readings(models) + readings(fits()))

    child = context.Process(target=work)
    child.start()
    try:
        assert receiver.poll(60), "the forked process hangs"
        for found, known in zip(receiver.recv(), expected, strict=True):
            assert_array_equal(found, known)
    finally:
        child.kill()
        child.join()
