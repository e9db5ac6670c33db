"""How the modules hang together, read from their source."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skkan
from skkan import export, inspection, solvers, symbolic

PACKAGE = Path(skkan.__file__).parent

# Each module may import only from those above it.
ORDER = [
    "_fields",
    "_threads",
    "_rows",
    "_scaling",
    "_fence",
    "_chunks",
    "_products",
    "_pieces",
    "_evaluation",
    "_basis",
    "_input_basis",
    "_stencil",
    "_kernel",
    "_layers",
    "_composition",
    "_network",
    "_activity",
    "_losses",
    "_class_losses",
    "_edge_kinds",
    "_penalties",
    "_backward",
    "_predictor",
    "_linearise",
    "_normal_equations",
    "_objective",
    "solvers._base",
    "solvers._adam",
    "solvers._lbfgs",
    "solvers._levenberg_marquardt",
    "solvers",
    "_plan",
    "_chunked_data",
    "_hyperprior",
    "_evidence",
    "_posterior",
    "_monitor",
    "_second_order",
    "_posterior_mean",
    "_training",
    "_prune",
    "_progress",
    "_callbacks",
    "_checks",
    "_categories",
    "_dask_input",
    "_split",
    "_frame",
    "_fitted",
    "_row_checks",
    "_choice",
    "_weighted_sum",
    "_options",
    "_structure",
    "_start",
    "_outcome",
    "_estimator",
    "_regressor",
    "_classifier",
    "_edges",
    "inspection._selection",
    "inspection._table",
    "inspection._room",
    "inspection._panels",
    "inspection._bars",
    "inspection._edge_display",
    "inspection._grid_display",
    "inspection._layout",
    "inspection._network_display",
    "inspection._loss_display",
    "inspection._prune",
    "inspection",
    "symbolic._callables",
    "symbolic._primitives",
    "symbolic._curves",
    "symbolic._formula",
    "symbolic._least_squares",
    "symbolic._candidates",
    "symbolic._fit_losses",
    "symbolic._refit",
    "symbolic._search",
    "symbolic._requests",
    "symbolic._choices",
    "symbolic._estimators",
    "symbolic._names",
    "symbolic._numpy_source",
    "symbolic._export",
    "symbolic",
    "export._graph",
    "export._search",
    "export._curves",
    "export._inputs",
    "export._network",
    "export._estimators",
    "export._onnx",
    "export._skl2onnx",
    "export",
    "",  # skkan itself
]
MODEL = {
    "_pieces",
    "_evaluation",
    "_basis",
    "_input_basis",
    "_stencil",
    "_kernel",
    "_layers",
    "_composition",
    "_network",
}
OPTIMISATION = {
    "_losses",
    "_class_losses",
    "_edge_kinds",
    "_penalties",
    "_backward",
    "_linearise",
    "_normal_equations",
    "_objective",
    "solvers._base",
    "solvers._adam",
    "solvers._lbfgs",
    "solvers._levenberg_marquardt",
    "solvers",
    "_plan",
    "_hyperprior",
    "_evidence",
    "_posterior",
    "_monitor",
    "_second_order",
    "_posterior_mean",
}
ESTIMATORS = {
    "_callbacks",
    "_categories",
    "_checks",
    "_dask_input",
    "_fitted",
    "_row_checks",
    "_split",
    "_frame",
    "_start",
    "_outcome",
    "_estimator",
    "_regressor",
    "_classifier",
}
# They read fitted estimators, or are estimators themselves.
READERS = {
    name for name in ORDER if re.match("_edges|inspection|symbolic|export", name)
}
OPTIONAL = {
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "pandas",
    "polars",
    "rich",
    "skl2onnx",
    "skops",
    "sympy",
}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {
    module_name(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")
}
every_module = pytest.mark.parametrize("name", sorted(SOURCES))


def imports(name):
    """(module, imported name or None) of every import, wherever it stands."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def own_imports(name):
    """(module of this package, imported name) of every import, without `skkan.`."""
    for module, imported in imports(name):
        if module == "skkan" or module.startswith("skkan."):
            inner = module.removeprefix("skkan").removeprefix(".")
            if f"{inner}.{imported}".lstrip(".") in SOURCES:  # from skkan import _rows
                yield f"{inner}.{imported}".lstrip("."), None
            else:
                yield inner, imported


def top_level_imports(name):
    """Modules that are imported when this one is: not those inside of functions."""
    todo = list(SOURCES[name].body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += ast.iter_child_nodes(node)


def test_order_names_every_module():
    """A new module has its place decided here."""
    assert set(SOURCES) == set(ORDER)


@every_module
def test_imports_run_one_way(name):
    """Each module may be read, and changed, knowing only those above it."""
    above = ORDER[: ORDER.index(name)]
    assert [module for module, _ in own_imports(name) if module not in above] == []


@every_module
def test_imports_are_absolute_and_explicit(name):
    """So that a name can be searched for."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert all(alias.name != "*" for alias in node.names)


@pytest.mark.parametrize("name", sorted(MODEL))
def test_model_does_not_know_how_it_is_fitted(name):
    """Networks are built, refined and evaluated without losses or solvers."""
    assert {module for module, _ in own_imports(name)} <= MODEL | {"_products"}


@pytest.mark.parametrize("name", sorted(OPTIMISATION))
def test_optimisation_does_not_import_the_model(name):
    """It takes networks, and what passed through them, as arguments.

    The penalties share one constant with the layers, whose deviations they take: the
    floor of a variance. The losses share one with the scaling of targets, which knows
    of no networks: by which medians become deviations. Penalties and the objective do
    call methods of the network and its layers; what is kept apart is the construction.
    """
    known = {
        (module, imported)
        for module, imported in own_imports(name)
        if module not in OPTIMISATION | {"_fields", "_products", "_rows", "_threads"}
    }
    allowed = {
        "_penalties": {("_layers", "SMALLEST_VARIANCE")},
        "_losses": {("_scaling", "NORMAL_MEDIAN")},
    }
    assert known == allowed.get(name, set())


def test_columns_meet_in_training():
    """It is the only module of the core that imports the optimisation as a whole.

    It gets the network to start from as an argument; the estimators make it, and make
    it anew from what they have stored. The search for a structure adds networks up.
    """
    known = {module for module, _ in own_imports("_training")}
    assert known == {"_evidence", "_monitor", "_plan", "_second_order", "solvers"}
    made_by = {n for n in SOURCES if ("_network", "KANNetwork") in own_imports(n)}
    assert made_by == {"_start", "_fitted", "_structure", "_weighted_sum", ""}


@pytest.mark.parametrize("name", sorted(set(SOURCES) - ESTIMATORS - READERS))
def test_only_estimators_know_scikit_learn(name):
    """The core takes from it the wording of range checks, and nothing else."""
    known = {module for module, _ in imports(name) if module.split(".")[0] == "sklearn"}
    assert known <= {"sklearn.utils._param_validation"}


@pytest.mark.parametrize("name", ["_rows", "_scaling"])
def test_units_are_a_matter_of_numpy(name):
    """Tensors begin where units end."""
    assert {module.split(".")[0] for module, _ in imports(name)} <= {
        "numpy",
        "dataclasses",
    }


@every_module
def test_optional_packages_are_imported_where_needed(name):
    """They are extras: skkan must import without them."""
    top_level = {module.split(".")[0] for module in top_level_imports(name)}
    assert not top_level & OPTIONAL


def test_import_is_light():
    """In a fresh process nothing imports the slow ones indirectly, either.

    scikit-learn itself imports pandas where it finds it.
    """
    code = "import sys, skkan; "
    code += "assert not {'dask', 'matplotlib', 'onnx', 'sympy'} & set(sys.modules)"
    done = subprocess.run(  # the same interpreter, with the same path
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@every_module
def test_no_global_is_changed(name):
    """Not a seed, not a default, not a module variable.

    The number of threads is changed, and restored, in one place.
    """
    banned = {"manual_seed", "seed", "set_default_dtype", "set_default_device"}
    banned |= {"use_deterministic_algorithms", "setattr", "eval", "exec"}
    if name != "_threads":
        banned |= {"set_num_threads"}
    for node in ast.walk(SOURCES[name]):
        assert not isinstance(node, ast.Global)
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            of_generator = "Generator" in ast.unparse(node.func)
            assert of_generator or called not in banned, ast.unparse(node)


# Public names

every_public_module = pytest.mark.parametrize(
    "module",
    [skkan, export, inspection, solvers, symbolic],
    ids=lambda module: module.__name__,
)


@pytest.mark.parametrize(
    "module",
    [skkan, export, inspection, solvers, symbolic],
    ids=lambda module: module.__name__,
)
def test_public_names_are_complete_and_sorted(module):
    """`__all__` is what the module holds, constants, classes and functions in order."""
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(module.__all__) == public
    assert len(module.__all__) == len(public)
    assert module.__all__ == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name)
    )


@pytest.mark.parametrize(
    "module",
    [skkan, export, inspection, solvers, symbolic],
    ids=lambda module: module.__name__,
)
def test_public_objects_are_documented(module):
    """With a docstring of their own, and so are their public methods.

    Those count, too, that stand in another half of a class.
    """
    for name in module.__all__:
        thing = getattr(module, name)
        assert thing.__doc__
        assert thing.__doc__.splitlines()[0].strip().endswith((".", "]."))
        if not inspect.isclass(thing):
            continue
        assert "__doc__" in vars(thing)
        ours = [part for part in thing.__mro__ if part.__module__.startswith("skkan")]
        for method, value in (item for part in ours for item in vars(part).items()):
            if inspect.isfunction(value) and not method.startswith("_"):
                assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"


@every_module
def test_module_says_what_it_is(name):
    """Its first lines name its nouns."""
    assert ast.get_docstring(SOURCES[name])
