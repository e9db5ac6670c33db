"""One fitted model for each structure."""

import warnings
from functools import cache

import pytest
from kinds_of_models import MODELS
from sklearn.exceptions import ConvergenceWarning


@cache
def fitted(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # they are short
        return MODELS[name]()


@pytest.fixture(params=MODELS)
def model(request):
    return fitted(request.param)
