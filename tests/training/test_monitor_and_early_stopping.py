"""What the monitor records, and when it ends a search."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skkan.data._dataset import Dataset
from skkan.training._monitor_and_early_stopping import Monitor, Observer, Validation


class FakeNetwork:
    """Remembers the parameters it was made of."""

    grid_size = 7

    def __init__(self, theta):
        self.theta = theta


class FakeObjective:
    """The raw output of all rows is the parameter, the loss its size."""

    network = FakeNetwork(0.0)
    start = torch.zeros(1)

    def on_data(self, data):
        return self

    def network_at(self, theta):
        return FakeNetwork(float(theta))

    def raw(self, theta):
        return theta

    def loss_of(self, raw):
        return abs(float(raw))

    def penalty(self, theta):
        return 100 + float(theta)


def make_monitor(*, tol=0.0, patience=3, early_stopping=False, validate=False, to=()):
    validation = None
    if validate or early_stopping:

        def score(raw, target, sample_weight):
            return -float(raw)

        data = Dataset(None, torch.zeros(1), torch.ones(1), None)
        validation = Validation(data, score)
    monitor = Monitor(
        tol=tol,
        n_iter_no_change=patience,
        early_stopping=early_stopping,
        validation=validation,
        observers=to,
    )
    monitor.begin_stage(7)
    monitor.begin_search(FakeObjective())
    return monitor


def length_of_search(monitor, values, thetas=None):
    """Number of iterations until the monitor ends the search; None if it does not."""
    thetas = values if thetas is None else thetas
    for n, (theta, value) in enumerate(zip(thetas, values, strict=True), start=1):
        if monitor(torch.tensor([float(theta)]), value):
            return n
    return None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 4, 3, 2, 1, 0.5, 0.25, 0.1], None),  # always progress
        ([5, 5, 5, 5, 5], 4),  # three without any
        ([5, 6, 7, 4, 4, 4, 4], 7),  # progress resets the count
        ([5, 4.8, 4.6, 4.4, 4.2, 4.0], None),  # slow: 4.4 is 10% below 5, the reference
        ([5, 4.9, 4.8, 4.7, 4.6], 4),  # too slow
        ([-5, -4, -6, -6, -6, -6], 6),  # of a negative loss, too
        ([math.inf, 1, 1, 1, 1], 5),  # an infinite first value is no reference
        ([1, math.nan, math.nan, math.nan], 4),  # nan is no progress
        ([0, 0, 0, 0], 4),  # nor is a loss that is zero already
    ],
)
def test_search_ends_without_relative_progress(values, expected):
    """More than `tol` of the last loss that was progress, within three iterations."""
    monitor = make_monitor(tol=0.1)
    assert length_of_search(monitor, values) == expected
    assert monitor.loss_curve == values[:expected]


def test_new_search_has_its_own_patience():
    """After a grid update the loss may fall again; the curve goes on."""
    monitor = make_monitor()
    assert length_of_search(monitor, [5, 5, 5, 5]) == 4
    monitor.begin_search(FakeObjective())
    assert length_of_search(monitor, [5, 5, 5, 5]) == 4
    assert monitor.loss_curve == [5] * 8
    assert not monitor.stage_ended


def test_early_stopping_watches_the_validation_loss():
    """The training loss falls, but what counts is the other one."""
    monitor = make_monitor(early_stopping=True)
    falling = [9, 8, 7, 6, 5, 4]
    assert length_of_search(monitor, falling, thetas=[3, 2, 1, 2, 3, 4]) == 6
    assert monitor.validation_loss_curve == [3, 2, 1, 2, 3, 4]
    assert monitor.validation_scores == [-3, -2, -1, -2, -3, -4]
    assert monitor.best_iteration == 3
    assert monitor.best_network.theta == 1
    assert monitor.network.theta == 4


def test_best_network_is_that_of_all_searches():
    """A finer grid must beat the coarser one to replace it."""
    monitor = make_monitor(early_stopping=True)
    length_of_search(monitor, [3, 2])
    monitor.begin_search(FakeObjective())
    length_of_search(monitor, [4, 2])
    assert monitor.best_iteration == 2
    length_of_search(monitor, [1])
    assert monitor.best_iteration == 5


def test_without_early_stopping_nothing_is_restored():
    """Validation rows are then only for the curve."""
    monitor = make_monitor(validate=True)
    length_of_search(monitor, [3, 2, 1], thetas=[1, 2, 3])
    assert monitor.validation_loss_curve == [1, 2, 3]
    assert monitor.best_network is None
    assert monitor.best_iteration is None


class Wish(Observer):
    """Wants an end at given iterations and keeps the reports."""

    def __init__(self, at=(), end_fit=False):
        self.at, self.end_fit = at, end_fit
        self.reports, self.begun, self.ended = [], [], []

    def begin_stage(self, grid_size):
        self.begun.append(grid_size)

    def end_iteration(self, report):
        self.reports.append(report)
        return report.n_iter in self.at

    def end_stage(self, network):
        self.ended.append(network.theta)
        return self.end_fit


@pytest.mark.parametrize("validate", [False, True])
def test_observers_get_the_state_of_the_iteration(validate):
    """Cheap figures as such, others when asked for."""
    observer = Wish()
    monitor = make_monitor(validate=validate, to=[observer])
    length_of_search(monitor, [3.0, 2.0])
    assert observer.begun == [7]
    for n, report in enumerate(observer.reports, start=1):
        assert report.n_iter == n
        assert report.grid_size == 7
        assert report.loss == 4.0 - n
        assert report.validation_loss == (4.0 - n if validate else None)
        assert report.penalty() == 100 + 4.0 - n
    assert observer.reports[-1].network().theta == 2


def test_every_observer_is_told_even_if_the_first_has_enough():
    """Otherwise a progress line would miss the iteration that ends the stage."""
    first, second = Wish(at=[2], end_fit=True), Wish()
    monitor = make_monitor(to=[first, second])
    assert length_of_search(monitor, [3, 2, 1]) == 2
    assert monitor.stage_ended
    assert len(second.reports) == 2
    assert monitor.end_stage()
    assert second.ended == [2]
    monitor.begin_stage(7)
    assert not monitor.stage_ended
    assert second.begun == [7, 7]


def test_observer_does_nothing_by_default():
    """Subclasses override what they need."""
    monitor = make_monitor(to=[Observer()])
    assert length_of_search(monitor, [3, 2, 1]) is None
    assert not monitor.end_stage()
    assert_array_equal(np.array(monitor.loss_curve), [3, 2, 1])


def test_network_before_any_iteration_is_the_start():
    """What observers ask for is there from the first search on."""
    assert make_monitor().network.theta == 0
