"""Stored fitted states predict, explain and export what they did when they were stored.

Nothing is fitted here, so that the values hold on any machine and under any better
solver. See `golden.make_golden` for the cases and for when files are renewed.
"""

import pickle
from functools import cache

import numpy as np
import pytest
from golden.codec import case_paths, load
from golden.make_golden import CASES
from golden.readings import ALWAYS, READINGS, TOLERANCE, TOLERANCES
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.multiclass import type_of_target

from skkan import KANClassifier
from skkan.losses._registry import REGRESSION_LOSSES
from skkan.selection._solver_choice import SOLVERS

stored = cache(load)
every_case = pytest.mark.parametrize("path", case_paths(), ids=lambda path: path.stem)

# Numbers below are what rounding leaves of differences of numbers near one, such as the
# deviation of the curve of a constant feature.
NOTHING = 1e-18


def assert_same(actual, expected, tolerance, where):
    """Nested values are equal, numbers up to a share of the largest of their array.

    What is new beside the expected values is left out.
    """
    if isinstance(expected, dict):
        assert expected.keys() <= actual.keys(), where
        for name in expected:
            assert_same(actual[name], expected[name], tolerance, f"{where}, {name}")
        return
    if isinstance(expected, list | tuple) and not _are_numbers(expected):
        assert len(actual) == len(expected), where
        for index, pair in enumerate(zip(actual, expected, strict=True)):
            assert_same(*pair, tolerance, f"{where}, {index}")
        return
    if expected is None:
        assert actual is None, where
        return
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape, where
    if expected.dtype.kind in "bif":
        assert np.asarray(actual).dtype.kind == expected.dtype.kind, where
    if expected.dtype.kind != "f":
        assert_array_equal(actual, expected, err_msg=where)
        return
    sizes = np.abs(expected[np.isfinite(expected)])
    scale = sizes.max(initial=0.0)
    atol = tolerance * scale + NOTHING
    assert_allclose(actual, expected, rtol=tolerance, atol=atol, err_msg=where)


def _are_numbers(values):
    return all(type(each) in (int, float) for each in values)


@every_case
def test_what_is_read_off_a_stored_state_is_what_it_was(path):
    case = stored(path)
    for name, expected in case["expected"].items():
        actual = READINGS[name](case["estimator"], case)
        tolerance = TOLERANCES.get(name, TOLERANCE)
        assert_same(actual, expected, tolerance, f"{path.stem}: {name}")


@every_case
def test_a_pickle_predicts_the_same_bits(path):
    case = stored(path)
    copy = pickle.loads(pickle.dumps(case["estimator"]))
    ours, theirs = (
        READINGS["predictions"](each, case) for each in (case["estimator"], copy)
    )
    for name in ours:
        assert_array_equal(ours[name], theirs[name])


def test_files_are_those_of_the_cases():
    """All cases are stored, with all that is to be read off them."""
    read = {path.stem: {*stored(path)["expected"]} for path in case_paths()}
    assert read == {name: {*ALWAYS, *case.readings} for name, case in CASES.items()}


def test_cases_cover_the_registries():
    """A new solver, loss or reading needs a stored state."""
    cases = [stored(path) for path in case_paths()]
    models = [case["estimator"] for case in cases]
    solvers = {model.solver for model in models}
    assert solvers >= set(SOLVERS)
    assert {type(solver) for solver in solvers} >= set(SOLVERS.values())
    losses = {model.loss for model in models}
    assert losses >= {*REGRESSION_LOSSES, "log_loss"}
    read = {name for case in cases for name in case["expected"]}
    assert read == set(READINGS)


def test_cases_cover_the_kinds_of_target():
    """In scikit-learn's words, as predictions have the kind that the target had."""
    kinds = {"number": set(), "text": set(), "bool": set()}
    for path in case_paths():
        case = stored(path)
        found = case["expected"]["predictions"]["predict"]
        kind = {"O": "text", "U": "text", "b": "bool"}.get(found.dtype.kind, "number")
        if isinstance(case["estimator"], KANClassifier):
            kinds[kind].add(type_of_target(found))
        else:
            kinds[kind].add("column" if found.shape[1:] == (1,) else found.ndim)
    assert kinds["number"] >= {1, 2, "column", "binary", "multiclass"}
    assert kinds["number"] >= {"multilabel-indicator"}
    assert kinds["text"] >= {"multiclass"}
    assert kinds["bool"] >= {"binary"}


def test_cases_cover_the_outcomes_of_the_structure_search():
    """Each outcome of `hidden_layer_sizes="auto"`, told by what it leaves."""
    outcomes = set()
    for path in case_paths():
        model = stored(path)["estimator"]
        if isinstance(model.hidden_layer_sizes, str):
            is_learnt = hasattr(model, "log_evidence_")
            has_skip = model.network_.skip is not None
            outcomes.add((model.hidden_layer_sizes_, is_learnt, has_skip))
    assert outcomes >= {
        ((), True, False),  # additive model, penalties by evidence
        ((), False, False),  # additive model, penalties by validation rows
        ((5,), True, False),  # one second-order network
        ((10,), False, False),  # one network with early stopping
        ((40,), False, False),  # ensemble
        ((40,), False, True),  # ensemble and additive model
    }
