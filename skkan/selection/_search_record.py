"""What a search for a structure has trained, and why it has chosen what it has."""

from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from scipy.stats import rankdata

DIVERGED = "diverged"
ALL_DIVERGED = "diverged on all rows"
OTHER_PENALTY = "another penalty predicts the rows held out better"
OTHER_CANDIDATE = "another candidate is clearly better"
NO_OTHER = "no other structure is clearly better"
NONE_TRIED = "no other structure was tried"


@dataclass(eq=False)
class Trial:
    """Networks of one structure under one penalty, whose mean may be chosen.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    grid_size : int
    solver : {"lm", "lbfgs"}
    alpha : float
        NaN where it is learnt.
    n_networks : int
    raw : Tensor of shape (n_samples, n_outputs) or None
        Output for the rows held out, by which it is compared.
    n_iter : int
    fit_time : float
        In seconds.
    weight : float
        Of its output in that of the network that is fitted.
    reason : str
        Why it has that weight.
    """

    hidden_layer_sizes: tuple
    grid_size: int
    solver: str
    alpha: float = np.nan
    n_networks: int = 1
    raw: torch.Tensor | None = None
    n_iter: int = 0
    fit_time: float = 0.0
    weight: float = 0.0
    reason: str = OTHER_CANDIDATE

    @contextmanager
    def timed(self):
        """Context whose seconds are counted as its own."""
        start = perf_counter()
        yield
        self.fit_time += perf_counter() - start

    def compare(self, t, min_t, others):
        """Note by which t statistic it is better than others, or not."""
        self.reason = f"clearly better than {others}: t = {t:.3g} > {min_t:g}"
        if not t > min_t:
            self.reason = f"not clearly better than {others}: t = {t:.3g} <= {min_t:g}"

    def choose(self, weight):
        """Give it a weight in the prediction, for the reason that it has."""
        self.weight = weight
        self.reason = f"chosen: {weight:.0%} of the prediction; {self.reason}"


def search_results(trials, validation):
    """Candidates as a dict of arrays, in the order in which they were trained.

    Parameters
    ----------
    trials : list of Trial
    validation : ValidationRows

    Returns
    -------
    dict
        See the estimators' `search_results_`.
    """
    scores = np.array([_score(each.raw, validation) for each in trials])

    def column(name, dtype):
        values = (getattr(each, name) for each in trials)
        return np.fromiter(values, dtype, len(trials))

    return {
        "param_hidden_layer_sizes": np.ma.array(column("hidden_layer_sizes", object)),
        "param_grid_size": np.ma.array(column("grid_size", int)),
        "param_solver": np.ma.array(column("solver", object)),
        "param_alpha": np.ma.masked_invalid(column("alpha", float)),
        "n_networks": column("n_networks", int),
        "validation_score": scores,
        "rank_validation_score": rankdata(
            np.where(np.isnan(scores), np.inf, -scores), method="min"
        ).astype(np.int32),
        "weight": column("weight", float),
        "reason": column("reason", object),
        "n_iter": column("n_iter", int),
        "fit_time": column("fit_time", float),
    }


def _score(raw, validation):
    """Minus the mean loss of the rows held out; NaN if there is none."""
    if raw is None:
        return np.nan
    loss = validation.total_loss(raw) / float(validation.data.sample_weight.sum())
    return -loss if np.isfinite(loss) else np.nan
