"""Constraints on interactions: what they forbid vanishes, what they allow is learnt."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skkan import KANClassifier, KANRegressor, SparsityPenalty
from skkan.inspection import prune
from skkan.selection._interactions import checked_interactions, with_groups

short = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FAST = {"max_iter": 15, "tol": 0.1, "random_state": 0}
N_FEATURES = 5


@pytest.fixture(scope="module")
def table():
    """The pairs (0, 1) and (2, 3) act together."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (240, N_FEATURES))
    y = 2 * X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2] * X[:, 3]) + X[:, 4]
    return X, y + 0.05 * rng.normal(size=240)


def mixed_difference(function, X, columns):
    """Alternating sum over the sets of columns that have the values of other rows."""
    others, total = np.roll(X, 1, axis=0), 0.0
    for size in range(len(columns) + 1):
        for chosen in combinations(columns, size):
            rows = X.copy()
            rows[:, list(chosen)] = others[:, list(chosen)]
            total = total + (-1) ** size * function(rows)
    return np.abs(total).max()


def largest_mixed_difference(function, X, order):
    groups = combinations(range(X.shape[1]), order)
    return max(mixed_difference(function, X[:40], group) for group in groups)


MODELS = {
    "second order": KANRegressor((4,), **FAST),
    "first order": KANRegressor((4,), solver="lbfgs", **FAST),
    "mini-batches": KANRegressor((4,), solver="adam", **FAST),
    "deep": KANRegressor((4, 3), solver="lbfgs", **FAST),
    "search": KANRegressor(**FAST),
    "comparison": KANRegressor(solver="lbfgs", **FAST),
    "validated": KANRegressor((4,), early_stopping=True, **FAST),
    "pruned": KANRegressor((4,), solver="lbfgs", prune_threshold=0.01, **FAST),
    "finer grids": KANRegressor((4,), solver="lbfgs", grid_schedule=[10], **FAST),
    "robust": KANRegressor((4,), solver="lbfgs", loss="huber", **FAST),
}


@short
@pytest.mark.parametrize("name", MODELS)
def test_three_features_never_act_together_pairwise(name, table):
    X, _ = table
    model = clone(MODELS[name]).set_params(interaction_cst="pairwise").fit(*table)
    assert largest_mixed_difference(model.predict, X, 3) < 1e-11
    together = mixed_difference(model.predict, X, (0, 1))
    assert together > 0.5


@short
@pytest.mark.parametrize("name", MODELS)
def test_no_two_features_act_together_without_interactions(name, table):
    X, _ = table
    model = clone(MODELS[name]).set_params(interaction_cst="no_interactions")
    model.fit(*table)
    assert largest_mixed_difference(model.predict, X, 2) < 1e-11


@short
def test_classes_are_constrained_in_their_log_odds(table):
    X, y = table
    labels = np.searchsorted(np.quantile(y, [0.3, 0.7]), y)
    model = KANClassifier((3,), solver="lbfgs", interaction_cst="pairwise", **FAST)
    model.fit(X, labels)
    assert largest_mixed_difference(model.decision_function, X, 3) < 1e-11
    model.set_params(hidden_layer_sizes="additive").fit(X, labels)
    assert largest_mixed_difference(model.decision_function, X, 2) < 1e-11


@short
def test_groups_by_number_or_name_hold_in_all_later_fits(table):
    """A new fit from the old one, batches, and pruned copies."""
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcde"))
    settings = {"solver": "lbfgs", "warm_start": True, **FAST}
    by_name = KANRegressor((3,), interaction_cst=[("a", "b"), ("c", "d")], **settings)
    by_number = KANRegressor((3,), interaction_cst=[(0, 1), [2, 3]], **settings)
    by_number.fit(X, y)
    by_name.fit(frame, y)
    assert_allclose(by_name.predict(frame), by_number.predict(X), rtol=1e-12)
    copy = prune(by_number, X, y, threshold=0.001)
    for model in (by_number, by_number.fit(X, y), by_number.partial_fit(X, y), copy):
        for group in [(0, 2), (1, 3), (0, 4), (3, 4)]:
            assert mixed_difference(model.predict, X, group) < 1e-11
        assert mixed_difference(model.predict, X, (0, 1)) > 0.5
    stream = KANRegressor((3,), interaction_cst="pairwise", **FAST)
    for _ in range(3):
        stream.partial_fit(X, y)
    assert largest_mixed_difference(stream.predict, X, 3) < 1e-11


@short
def test_each_of_many_groups_has_a_node():
    """Of 15 features in six pairs and a group of three, where (5,) is usual."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (80, 15))
    groups = [(at, at + 1) for at in range(0, 12, 2)]
    model = KANRegressor(interaction_cst=groups, solver="lbfgs", max_iter=1)
    model.set_params(penalty=SparsityPenalty(1e-3), random_state=0)
    mask = model.fit(X, X[:, 0] * X[:, 1]).network_.layers[0].mask
    found = {tuple(np.flatnonzero(row).tolist()) for row in mask.numpy()}
    assert found == {*groups, (12, 13, 14)}


def test_features_in_no_group_form_one_of_their_own():
    names = ["a", "b", "c", "d"]
    assert checked_interactions([(0, "b")], names) == [(0, 1), (2, 3)]
    assert checked_interactions([("c",)], names) == [(0, 1, 3)]
    assert checked_interactions("no_interactions", names) == []
    assert checked_interactions([[0], [1], [2], [3]], names) == []
    assert checked_interactions([(0, 1), (1, 2), (1, 0), (3,)], names) == [
        (0, 1),
        (1, 2),
    ]
    assert checked_interactions(None, names) is None


@short
def test_the_best_pairs_are_found(table):
    """Of a law of two products, among ten pairs; six features of noise come on top."""
    X, y = table
    X = np.column_stack([X, np.random.default_rng(1).uniform(-1, 1, (len(X), 6))])
    model = KANRegressor((4,), solver="lbfgs", interaction_cst="pairwise", tol=0.1)
    mask = model.set_params(random_state=0).fit(X, y).network_.layers[0].mask.numpy()
    pairs = {tuple(np.flatnonzero(row).tolist()) for row in mask}
    assert {(0, 1), (2, 3)} <= pairs
    assert all(len(pair) == 2 for pair in pairs)


@short
def test_nodes_of_deeper_layers_keep_to_their_group():
    model = KANRegressor((4, 2), solver="lbfgs", interaction_cst=[(0, 1), (2, 3)])
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 4))
    model.set_params(tol=0.5, random_state=0).fit(X, X[:, 0] * X[:, 1] + X[:, 2])
    first, second, last = model.network_.layers
    assert first.mask.tolist() == 2 * [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert second.mask.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert last.mask.all()
    assert model.network_.skip.mask.all()
    groups = [(0, 1), (2, 3)]
    again = with_groups(model.network_, groups)
    assert [layer.mask.tolist() for layer in again.layers[:-1]] == [
        first.mask.tolist(),
        second.mask.tolist(),
    ]


def test_additive_is_what_the_search_takes_for_an_additive_law(rng):
    """The same grids and penalties, without the search for hidden nodes."""
    X = rng.uniform(-1, 1, (50, 3))  # too few rows for hidden nodes
    y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=50)
    found = KANRegressor(random_state=0).fit(X, y)
    model = KANRegressor("additive", random_state=0).fit(X, y)
    assert_allclose(model.predict(X), found.predict(X), rtol=1e-9)
    assert model.hidden_layer_sizes_ == ()
    assert model.grid_size_ == found.grid_size_ == 20
    given = KANRegressor("additive", alpha=1e-3, random_state=0).fit(X, y)
    assert given.grid_size_ == 20
    assert given.hidden_layer_sizes_ == ()


@short
def test_constraints_are_searched_over_like_other_parameters(table):
    X, y = table
    score = {
        constraint: cross_val_score(
            KANRegressor((3,), solver="lbfgs", interaction_cst=constraint, **FAST),
            *(X, y),
            cv=3,
        ).mean()
        for constraint in ("pairwise", "no_interactions")
    }
    assert score["pairwise"] > score["no_interactions"] + 0.2


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (["ab"], "groups of features.*'ab'"),
        ([0, 1], "groups of features"),
        ([(0, 9)], "names or numbers.*9"),
        ([(0, "z")], "'z'"),
        ([(0, True)], "True"),
        ([(0, 1), (0, 2), (0, 3)], "3 groups.*2 nodes"),
        ("pairs", "interaction_cst"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(constraint, message, table):
    model = KANRegressor((2,), interaction_cst=constraint)
    with pytest.raises(ValueError, match=message):
        model.fit(*table)
    assert not hasattr(model, "fitted_model_")


@short
def test_a_later_fit_keeps_the_constraint_or_is_refused(table):
    model = KANRegressor((2,), solver="lbfgs", tol=0.5, warm_start=True, random_state=0)
    model.fit(*table)
    with pytest.raises(ValueError, match="interaction_cst=None, got 'pairwise'"):
        model.set_params(interaction_cst="pairwise").fit(*table)
