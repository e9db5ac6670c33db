"""Fitted estimators to draw."""

import matplotlib.pyplot as plt
import pytest
from models_to_draw import additive_model, deep_model


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
