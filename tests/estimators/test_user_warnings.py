"""Warnings name the line of the user, whatever stands between it and the cause.

scikit-learn's decorators differ in number between its versions.
"""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skkan import KANClassifier, KANRegressor
from skkan.inspection import prune
from skkan.symbolic import SymbolicKANRegressor

SHORT = {"hidden_layer_sizes": (2,), "alpha": 0.01, "max_iter": 1, "random_state": 0}
regressor = KANRegressor(**SHORT)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(40, 2))
    return X, X[:, 0] * X[:, 1]


def in_regression(X, y):
    regressor.fit(X, y)


def in_a_pipeline(X, y):
    make_pipeline(StandardScaler(), regressor).fit(X, y)


def in_a_search(X, y):
    GridSearchCV(regressor, {"grid_size": [5]}, cv=2).fit(X, y)


def in_several_outputs(X, y):
    MultiOutputRegressor(regressor).fit(X, np.column_stack([y, y]))


def in_a_formula(X, y):
    SymbolicKANRegressor(regressor, max_refits=2).fit(X, y)


def in_a_subclass(X, y):
    class Own(KANRegressor):
        def fit(self, X, y):
            return super().fit(X, y)

    Own(**SHORT).fit(X, y)


def in_pruning(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KANRegressor((2,), alpha=0.01, random_state=0, max_iter=200).fit(X, y)
    prune(model.set_params(max_iter=1), X, y, threshold=0.0)


@pytest.mark.parametrize(
    "fit",
    [
        in_regression,
        in_a_pipeline,
        in_a_search,
        in_several_outputs,
        in_a_formula,
        in_a_subclass,
        in_pruning,
    ],
)
def test_convergence_warnings_name_the_line_of_the_user(fit, table):
    with pytest.warns(ConvergenceWarning, match="max_iter=1") as caught:
        fit(*table)
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_warning_of_a_column_of_labels_names_the_line_of_the_user(method, table):
    X, y = table
    model = KANClassifier((), solver="adam", max_iter=3, tol=1e3, n_iter_no_change=1)
    classes = {} if method == "fit" else {"classes": [0, 1]}
    with pytest.warns(DataConversionWarning, match="column-vector") as caught:
        getattr(model, method)(X, (y > 0).astype(int)[:, None], **classes)
    assert {each.filename for each in caught} == {__file__}
