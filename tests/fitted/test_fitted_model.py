"""What a fit leaves: read by predictions, inspection, formulas and exports."""

import json
import pickle
from copy import deepcopy

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris, make_friedman1

from skkan import KANClassifier, KANRegressor
from skkan.fitted._fitted_model import FittedModel

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(make, **settings):
    X, y = load_iris(return_X_y=True)
    if make is KANRegressor:
        X, y = make_friedman1(80, random_state=0)
    return make(max_iter=5, random_state=0, **settings).fit(X, y), X


@pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
@pytest.mark.parametrize(
    "settings", [{"hidden_layer_sizes": (2,)}, {"solver": "lbfgs"}, {}]
)
def test_plain_values_are_the_whole_model(make, settings):
    """Files hold nothing else, and so name no class of this package."""
    estimator, X = fitted(make, **settings)
    model = estimator.fitted_model_
    state = model.to_dict()
    json.dumps(state, default=lambda value: np.asarray(value).tolist())
    again = FittedModel.from_dict(state)
    assert_array_equal(again.raw_output(X), model.raw_output(X))
    assert_array_equal(again.moderated_output(X), model.moderated_output(X))
    assert again.target.to_dict().keys() == model.target.to_dict().keys()
    assert again.continuation == model.continuation
    assert b"skkan.fitted" not in pickle.dumps(estimator)


def test_tables_for_predictions_are_made_once_and_go_with_the_model():
    """They are no part of a file, and a new fit has its own."""
    estimator, X = fitted(KANRegressor, hidden_layer_sizes=())
    estimator.predict(X)
    tables = estimator.fitted_model_._predictor
    estimator.predict(X[:1])
    assert estimator.fitted_model_._predictor is tables
    again = pickle.loads(pickle.dumps(estimator))
    assert "_predictor" not in vars(again.fitted_model_)
    before = estimator.predict(X)
    estimator.fit(X, before[::-1])
    assert estimator.fitted_model_._predictor is not tables
    assert_array_equal(again.predict(X), before)


def test_model_cannot_be_changed():
    """What reads it may keep it; fitted attributes are copies."""
    estimator, X = fitted(KANClassifier, hidden_layer_sizes=())
    with pytest.raises(AttributeError, match="cannot assign"):
        estimator.fitted_model_.posterior = None
    before = estimator.predict_proba(X), estimator.predict(X)
    estimator.alpha_ *= 1e6
    estimator.classes_[0] = 7
    assert_array_equal(estimator.predict_proba(X), before[0])
    assert_array_equal(estimator.predict(X), before[1])


def test_copies_have_one_hash():
    """joblib.Memory finds what it has computed for an equal estimator."""
    estimator, _ = fitted(KANRegressor, hidden_layer_sizes=(2,))
    copies = [pickle.loads(pickle.dumps(estimator)), deepcopy(estimator)]
    assert {joblib.hash(each) for each in copies} == {joblib.hash(estimator)}


def test_fits_continue_from_memory_maps(tmp_path):
    """Arrays that are for reading only are copied where torch takes none."""
    estimator, X = fitted(KANRegressor, hidden_layer_sizes=(2,), warm_start=True)
    y = estimator.predict(X) + np.sin(X[:, 0])
    path = tmp_path / "model"
    joblib.dump(estimator, path)
    mapped = joblib.load(path, mmap_mode="r")
    torch.set_warn_always(True)
    try:
        mapped.fit(X, y)
    finally:
        torch.set_warn_always(False)
    assert_array_equal(mapped.predict(X), estimator.fit(X, y).predict(X))
