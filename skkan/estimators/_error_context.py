"""Contexts of a fit: a failure leaves the previous fit as it was."""

from contextlib import contextmanager

import torch

from skkan.numerics._threads import single_thread
from skkan.solvers import DivergenceError


@contextmanager
def fit_context(estimator):
    """Context of every fit: undone if it fails, one thread, gradients available."""
    with earlier_fit_kept(estimator), single_thread, torch.inference_mode(False):
        yield


@contextmanager
def earlier_fit_kept(estimator):
    """Undo what a failed fit did to the estimator."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # scikit-learn still needs what its callbacks left on the estimator.
        for name in [name for name in vars(estimator) if "callback" not in name]:
            del vars(estimator)[name]
        vars(estimator).update(before)
        raise


@contextmanager
def divergence_explained(estimator):
    """Turn a solver's DivergenceError into a ValueError that says what to do."""
    try:
        yield
    except DivergenceError as error:
        raise ValueError(
            f"{type(estimator).__name__} diverged: {error}. Scale or clip extreme "
            "values of X and y, raise alpha, or lower the solver's learning rate."
        ) from error
