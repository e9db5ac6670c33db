"""`search_results_`: what a search for the structure has tried, and why."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skkan import KANClassifier, KANRegressor
from skkan.data._dataset import Dataset
from skkan.inspection import prune
from skkan.losses._regression import SquaredError
from skkan.selection import _settings
from skkan.selection._search_record import Trial, search_results
from skkan.selection._validation_rows import ValidationRows

short = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def partly_additive():
    """Rows of a sum of two curves and a product, and noise.

    Two features are one pair: the skip is the additive model alone.
    """
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 2))
    y = np.sin(6 * X[:, 0]) + X[:, 1] ** 2 + X[:, 0] * X[:, 1]
    return X, y + 0.3 * rng.normal(size=150)


@pytest.fixture(scope="module")
def fitted(partly_additive):
    return KANRegressor(random_state=0).fit(*partly_additive)


def test_scores_are_minus_the_mean_loss_and_are_ranked():
    """Half the mean square of the errors; ties share a rank, no score is last."""
    rng = np.random.default_rng(0)
    target, weight = rng.normal(size=(6, 1)), rng.uniform(0.5, 2, 6)
    rows = Dataset(*map(torch.from_numpy, (target, target, weight, np.zeros(1))))
    outputs = [None, *rng.normal(size=(3, 6, 1))]
    outputs.append(outputs[2])
    trials = [
        Trial((), 5, "lbfgs", alpha=0.1, raw=raw)
        if raw is None
        else Trial((2,), 5, "lm", raw=torch.from_numpy(raw))
        for raw in outputs
    ]
    results = search_results(trials, ValidationRows(rows, SquaredError()))
    errors = [
        np.average((raw - target)[:, 0] ** 2, weights=weight) for raw in outputs[1:]
    ]
    assert_allclose(results["validation_score"], [np.nan, *-0.5 * np.array(errors)])
    first, second, third, _ = errors
    expected = [5]
    for error in errors:
        others = [first, second, third, second]
        expected.append(1 + sum(other < error for other in others))
    assert_array_equal(results["rank_validation_score"], expected)
    assert_array_equal(results["param_alpha"].mask, [False, True, True, True, True])


def test_weights_are_those_of_what_predict_uses(fitted, partly_additive):
    """The skip of the network is the additive model, times its weight."""
    X, y = partly_additive
    results = pd.DataFrame(fitted.search_results_)
    assert_allclose(results["weight"].sum(), 1.0)
    chosen = results[results["weight"] > 0]
    assert chosen["param_hidden_layer_sizes"].tolist() == [(), (10,)]
    weight = chosen["weight"].iloc[0]
    assert chosen["n_networks"].tolist() == [1, 4]
    assert chosen["reason"].str.startswith("chosen: ").all()
    alone = KANRegressor((), grid_size=20, grid_eps=0.2, solver="lm").fit(X, y)
    skip, whole = fitted.network_.skip, fitted.network_
    x = torch.from_numpy(fitted.fitted_model_.preprocessing.input_scaling.transform(X))
    part = skip(whole.inputs(x)).detach().numpy()
    expected = weight * alone.network_(x).detach().numpy()
    assert_allclose(part, expected, atol=0.02)


def test_what_was_chosen_has_the_best_score_of_its_path(fitted):
    """And the iterations of all candidates are those of the fit, but for its end."""
    results = pd.DataFrame(fitted.search_results_)
    means = results[results["n_networks"] == 4]
    best = means["validation_score"].idxmax()
    assert means["weight"].idxmax() == best
    assert results["param_alpha"].isna().tolist() == [
        sizes == () for sizes in results["param_hidden_layer_sizes"]
    ]
    others = means.drop(index=best)["reason"]
    assert set(others) == {"another penalty predicts the rows held out better"}
    assert results["n_iter"].sum() == fitted.n_iter_ - 1


def test_the_reason_is_the_comparison_that_decided(partly_additive, monkeypatch):
    """Under another limit of t the same networks are refused."""
    X, y = partly_additive
    settings = _settings.SearchSettings(min_t=1e3)
    monkeypatch.setattr(_settings, "SEARCH", settings)
    model = KANRegressor(random_state=0).fit(X, y)
    results = pd.DataFrame(model.search_results_)
    assert model.hidden_layer_sizes_ == ()
    assert results["reason"][0] == (
        "chosen: 100% of the prediction; no other structure is clearly better"
    )
    means = results[results["n_networks"] == 4]
    reason = means.loc[means["validation_score"].idxmax(), "reason"]
    assert reason.startswith("not clearly better than the additive model: t = ")
    assert reason.endswith(" <= 1000")


def test_results_travel_with_a_model_but_not_with_its_clone(fitted):
    copy = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(
        pd.DataFrame(copy.search_results_), pd.DataFrame(fitted.search_results_)
    )
    assert not hasattr(clone(fitted), "search_results_")


@short
@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
def test_fits_without_a_search_have_no_results(make, rng):
    """Neither their own nor those of an earlier fit."""
    X = rng.uniform(-1, 1, (50, 2))
    y = X[:, 0] > 0 if make is KANClassifier else X[:, 0]
    stream = {"classes": [False, True]} if make is KANClassifier else {}
    model = make(random_state=0)

    def searched(**settings):
        model.set_params(alpha="auto", warm_start=False, max_iter=3)
        (weight,) = model.fit(X, y).search_results_["weight"]
        assert weight == 1
        return model.set_params(**settings)

    assert not hasattr(searched(alpha=0.1).fit(X, y), "search_results_")
    assert not hasattr(searched(warm_start=True).fit(X, y), "search_results_")
    assert not hasattr(searched().partial_fit(X, y, **stream), "search_results_")
    pruned = prune(searched(), X, y, threshold=0.0)
    assert not hasattr(pruned, "search_results_")
    assert hasattr(model, "search_results_")


def test_a_single_network_that_is_chosen_has_outdone_the_others(rng):
    """Once it is found, the path of the others ends."""
    X = rng.uniform(-1, 1, (80, 2))
    law = np.sin(3 * X[:, 0]) * X[:, 1]
    model = KANRegressor(random_state=0).fit(X, law)
    results = pd.DataFrame(model.search_results_)
    assert model.hidden_layer_sizes_ == (5,)
    chosen = results.loc[results["weight"] == 1].iloc[0]
    assert chosen["param_hidden_layer_sizes"] == (5,)
    assert chosen["rank_validation_score"] == 1
    assert "clearly better than the mean of others: t = " in chosen["reason"]
    unchosen = results[results["weight"] == 0]
    assert not unchosen["reason"].str.startswith("chosen").any()
    assert unchosen["reason"].iloc[0] == "another candidate is clearly better"
