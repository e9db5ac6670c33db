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

# Rooms, each of which may import only from itself and from those above it.
ROOMS = [
    "_parameter_ranges",
    "numerics",
    "data",
    "basis",
    "network",
    "losses",
    "penalties",
    "objective",
    "solvers",
    "inference",
    "fitted",
    "training",
    "selection",
    "strategies",
    "estimators",
    "explanations",
    "drawing",
    "explanation_displays",
    "inspection",
    "formulas",
    "structures",
    "symbolic",
    "export",
    "",  # skkan itself
]
# They check the user's tables, are estimators or readers of them, or ask for matplotlib
# in scikit-learn's words.
KNOW_SCIKIT_LEARN = {
    "data",
    "fitted",
    "estimators",
    "explanations",
    "drawing",
    "explanation_displays",
    "inspection",
    "formulas",
    "symbolic",
}
MAX_MODULES = 13  # of a room, so that a list of its files can be taken in
OPTIONAL = {
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "pandas",
    "polars",
    "pyarrow",
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


def offenders(found, rooms=ROOMS):
    """What `found` finds in the modules of some rooms, by their names, if anything."""
    names = [name for name in sorted(SOURCES) if room_of(name) in rooms]
    return {name: what for name in names if (what := found(name))}


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


def room_of(module):
    return module.split(".")[0]


def test_every_module_has_a_room():
    """A new room has its place decided here, and no room grows without end."""
    assert {room_of(name) for name in SOURCES} == set(ROOMS)
    rooms = [room_of(name) for name in SOURCES]
    assert max(map(rooms.count, rooms)) <= MAX_MODULES + 1  # its __init__


def test_imports_run_one_way():
    """Each room may be read, and changed, knowing only those above it."""

    def from_below(name):
        above = ROOMS[: ROOMS.index(room_of(name)) + 1]
        return [m for m, _ in own_imports(name) if room_of(m) not in above]

    assert offenders(from_below) == {}


@pytest.mark.parametrize("room", ROOMS[1:-1])
def test_no_circle_within_a_room(room):
    """The modules of a room import each other in one direction."""
    left = {
        name: {m for m, _ in own_imports(name) if room_of(m) == room and m != room}
        for name in SOURCES
        if room_of(name) == room and name != room
    }
    while left:
        free = [name for name, needed in left.items() if not needed & set(left)]
        assert free, left
        for name in free:
            del left[name]


def test_imports_are_absolute_and_explicit():
    """So that a name can be searched for."""

    def relative_or_star(name):
        nodes = ast.walk(SOURCES[name])
        found = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        names = [(node.level, alias.name) for node in found for alias in node.names]
        return [pair for pair in names if pair[0] or pair[1] == "*"]

    assert offenders(relative_or_star) == {}


def test_networks_do_not_know_how_they_are_fitted():
    """Losses, penalties, objectives and solvers take networks as arguments.

    The penalties share one constant with the layers, whose deviations they take: the
    floor of a variance.
    """

    def known(name):
        return {(m, n) for m, n in own_imports(name) if room_of(m) == "network"}

    rooms = {"losses", "penalties", "objective", "solvers"}
    assert offenders(known, rooms) == {
        "penalties._sparsity": {("network._layer", "SMALLEST_VARIANCE")},
        "objective._gauss_newton": {
            ("network._jacobian", "linearise"),
            ("network._jacobian", "outer_weight_positions"),
        },
        "objective._whitening": {("network._jacobian", "linearise")},
    }


# Private attributes that a reader may use, since its own room defines them.
PRIVATE_OF_OWN_ROOM = {
    "unscaled._deviances",  # a new object, in a constructor of its own class
    "k._network",  # of the symbolic estimators, in the function that makes one
    "model._validate_params",  # scikit-learn's, for what is fitted without `fit`
    "model._write_down",  # the half of `fit` behind the network
}


def test_readers_read_the_fitted_model_alone():
    """Private attributes of estimators may change with how they are fitted."""

    def private(name):
        allowed = PRIVATE_OF_OWN_ROOM if room_of(name) == "symbolic" else set()
        return {
            ast.unparse(node)
            for node in ast.walk(SOURCES[name])
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.endswith("__")
            and ast.unparse(node.value) not in {"self", "cls"}
        } - allowed

    rooms = {"explanations", "explanation_displays", "inspection", "formulas"}
    assert offenders(private, rooms | {"symbolic", "export"}) == {}


def test_only_some_rooms_know_scikit_learn():
    """The core takes from it the wording of range checks, and nothing else."""

    def of_scikit_learn(name):
        known = {m for m, _ in imports(name) if m.split(".")[0] == "sklearn"}
        return known - {"sklearn.utils._param_validation"}

    assert offenders(of_scikit_learn, {*ROOMS} - KNOW_SCIKIT_LEARN) == {}


@pytest.mark.parametrize("name", ["data._merged_rows", "data._scaling"])
def test_units_are_a_matter_of_numpy(name):
    """Tensors begin where units end."""
    assert {module.split(".")[0] for module, _ in imports(name)} <= {
        "numpy",
        "dataclasses",
        "skkan",
    }


def test_optional_packages_are_imported_where_needed():
    """They are extras: skkan must import without them."""

    def optional(name):
        return {module.split(".")[0] for module in top_level_imports(name)} & OPTIONAL

    assert offenders(optional) == {}


def test_import_and_fit_are_light():
    """In a fresh process nothing imports the slow ones indirectly, either.

    Nor does a fit of what is no dask data. scikit-learn itself imports pandas where it
    finds it.
    """
    code = "import sys, numpy as np; from skkan import KANRegressor; "
    code += "X = np.arange(20.0)[:, None]; KANRegressor(()).fit(X, X[:, 0]).predict(X);"
    code += "slow = {'dask', 'distributed', 'matplotlib', 'onnx', 'sympy'}; "
    code += "assert not slow & set(sys.modules)"
    done = subprocess.run(  # the same interpreter, with the same path
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_global_is_changed():
    """Not a seed, not a default, not a module variable.

    The number of threads is changed, and restored, in one place.
    """
    banned = {"manual_seed", "seed", "set_default_dtype", "set_default_device"}
    banned |= {"use_deterministic_algorithms", "setattr", "eval", "exec"}
    banned |= {"set_num_threads"}

    def changes(name):
        found = set()
        for node in ast.walk(SOURCES[name]):
            if isinstance(node, ast.Global):
                found |= {*node.names}
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", None))
                if called in banned and "Generator" not in ast.unparse(node.func):
                    found.add(called)
        return found

    assert offenders(changes) == {"numerics._threads": {"set_num_threads"}}


# Public names

every_public_module = pytest.mark.parametrize(
    "module",
    [skkan, export, inspection, solvers, symbolic],
    ids=lambda module: module.__name__,
)


@every_public_module
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


@every_public_module
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


@every_public_module
def test_public_classes_name_their_public_home(module):
    """Pickles and skops files name it, and stay valid when a room changes."""
    classes = [getattr(module, name) for name in module.__all__]
    homes = {thing.__module__ for thing in classes if inspect.isclass(thing)}
    assert homes <= {module.__name__}


def test_modules_say_what_they_are():
    """Their first lines name their nouns."""
    assert offenders(lambda name: not ast.get_docstring(SOURCES[name])) == {}


def test_names_mean_one_thing():
    """No class and no constant is defined in two modules."""
    homes = {}
    for module, source in SOURCES.items():
        for node in source.body:
            targets = getattr(node, "targets", [])
            stored = [part for target in targets for part in ast.walk(target)]
            names = [part.id for part in stored if isinstance(part, ast.Name)]
            names = [name for name in names if name.isupper()]
            if isinstance(node, ast.ClassDef):
                names = [node.name]
            for name in names:
                homes.setdefault(name, set()).add(module)
    assert {name: home for name, home in homes.items() if len(home) > 1} == {}


def test_documented_types_exist():
    """The types of parameters in docstrings are ours, or of a known package."""
    foreign = {"BarContainer", "FillBetweenPolyCollection", "Line2D", "RandomState"}
    foreign |= {"PathCollection", "PolyCollection", "QuadMesh"}
    nodes = [node for source in SOURCES.values() for node in ast.walk(source)]
    defined = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    docs = [ast.get_docstring(node) for node in nodes if isinstance(node, documented)]
    types = re.findall(r"^ *[\w*, ]+ : (.+)$", "\n".join(filter(None, docs)), re.M)
    names = {name for line in types for name in re.findall(r"\w+", line)}
    camel_case = {name for name in names if re.match(r"[A-Z]\w*[A-Z]", name)}
    camel_case = {name for name in camel_case if not name.isupper()}
    assert len(camel_case & defined) > 20
    assert camel_case - defined == foreign
