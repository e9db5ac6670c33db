"""Fitted estimators to draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from golden.codec import case_paths, load
from models_to_draw import X, Y, additive_model, deep_model, rng

from skkan import KANClassifier, KANRegressor


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def additive():
    return additive_model()


@pytest.fixture(scope="module")
def deep():
    return deep_model()


@pytest.fixture(scope="module")
def classifier():
    y = np.digitize(Y, [-1, 0, 1])
    return KANClassifier((2,), solver="lbfgs", max_iter=10, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def wide():
    """30 inputs and ten outputs."""
    many = rng.normal(size=(80, 30))
    targets = many[:, :10] + many[:, 10:20]
    return KANRegressor((8, 8), solver="lbfgs", max_iter=2, random_state=0).fit(
        many, targets
    )


@pytest.fixture(scope="module")
def ensemble():
    """Four networks of ten nodes and an additive model, from the stored states."""
    (path,) = (path for path in case_paths() if path.stem == "auto-ensemble")
    model = load(path)["estimator"]
    model.fitted_model_.network_arrays["members"] = np.arange(4).repeat(10)
    return model


@pytest.fixture(params=["additive", "deep", "classifier"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def staged():
    model = KANRegressor(
        (), grid_schedule=(8, 12), solver="lbfgs", max_iter=8, random_state=0
    )
    return model.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:])
