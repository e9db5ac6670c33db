"""One thread inside, the process' own setting outside."""

import multiprocessing
import threading

import pytest
import threadpoolctl
import torch

from skkan.numerics._row_blocks import tree_sum
from skkan.numerics._threads import (
    parallel_map,
    parallel_tree_sum,
    single_thread,
    threads_outside,
)


@pytest.fixture(autouse=True)
def three_threads():
    """A setting that is neither one nor this machine's, and is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_inside_there_is_one_thread():
    """Results do not depend on the machine, and workers do not fight for cores."""
    with single_thread:
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_nested_use_restores_at_the_end():
    """`fit` calls `predict` inside: the inner one must not give the threads back."""
    with single_thread:
        with single_thread:
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_inside_it_is_known_how_many_there_are_outside():
    assert threads_outside() == 3
    with single_thread, single_thread:
        assert threads_outside() == 3


def test_one_of_many_pieces_starts_no_threads():
    """As a task of a worker, which may be one of many on its machine."""
    with single_thread.alone():
        assert threads_outside() == 1
        names = parallel_map(lambda item: threading.current_thread().name, "abc")
    assert set(names) == {threading.current_thread().name}
    assert torch.get_num_threads() == threads_outside() == 3


@pytest.mark.parametrize("n_values", [1, 8, 9, 100])
def test_sums_are_the_same_bits_wherever_they_are_made(n_values):
    """Workers add what they are told to, in the order of a sum by threads."""
    values = (0.1 * torch.arange(n_values, dtype=torch.float64).cos()).tolist()
    found = parallel_tree_sum(lambda value: 3 * value, values)
    assert found == tree_sum(3 * value for value in values)
    assert found == pytest.approx(3 * sum(values), rel=1e-14)


def test_error_restores():
    """And goes through."""
    with pytest.raises(RuntimeError, match="inside"), single_thread:
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 3


def test_decorated_function_runs_in_one_thread():
    """As the estimators use it; each call anew."""
    inside = single_thread(torch.get_num_threads)
    assert [inside(), inside()] == [1, 1]
    assert torch.get_num_threads() == 3


def test_concurrent_use_restores_after_the_last():
    """With joblib's threads the first fit ends while the second still runs."""
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with single_thread:
            first_is_in.set()
            assert second_is_in.wait(10)
        seen.append(torch.get_num_threads())
        first_is_out.set()

    def second():
        assert first_is_in.wait(10)
        with single_thread:
            second_is_in.set()
            assert first_is_out.wait(10)
            seen.append(torch.get_num_threads())

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    # The first has its own again, and inside of the second there is still one.
    assert seen == [3, 1]
    assert torch.get_num_threads() == 3


def test_main_thread_may_leave_first():
    """A short fit in a notebook while a long one runs in the background."""
    is_in, may_leave = threading.Event(), threading.Event()
    left = []

    def background():
        with single_thread:
            is_in.set()
            assert may_leave.wait(10)
        left.append(torch.get_num_threads())

    with single_thread:
        thread = threading.Thread(target=background)
        thread.start()
        assert is_in.wait(10)
    assert torch.get_num_threads() == 3
    may_leave.set()
    thread.join(20)
    later = threading.Thread(target=lambda: left.append(torch.get_num_threads()))
    later.start()
    later.join(20)
    assert left == [3, 3]
    assert torch.get_num_threads() == 3


def test_blas_uses_one_thread_inside():
    """numpy's and scipy's sums would depend on the number of threads."""

    def blas_threads():
        libraries = threadpoolctl.threadpool_info()
        return {lib["num_threads"] for lib in libraries if lib["user_api"] == "blas"}

    before = blas_threads()
    with single_thread, single_thread:
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_many_concurrent_uses_restore():
    """Whatever the order in which they come and go, also for threads that follow."""
    seen = []

    def work():
        for _ in range(200):
            with single_thread:
                pass
        seen.append(torch.get_num_threads())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    last = threading.Thread(target=work)
    last.start()
    last.join(20)
    assert seen == [3] * 9
    assert torch.get_num_threads() == 3


# From Python 3.12 on it warns where other threads run, such as this test's own.
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forked_process_forgets_the_threads_of_its_parent():
    """A fit of the parent in another thread neither blocks nor limits the child."""
    is_in, may_leave = threading.Event(), threading.Event()

    def background():
        with single_thread:
            is_in.set()
            assert may_leave.wait(20)

    def blas_threads():
        libraries = threadpoolctl.threadpool_info()
        return [lib["num_threads"] for lib in libraries if lib["user_api"] == "blas"]

    def work():
        outside = blas_threads()
        with single_thread:
            inside = blas_threads(), torch.get_num_threads()
        sender.send((outside, inside, blas_threads(), torch.get_num_threads()))

    expected = blas_threads()
    thread = threading.Thread(target=background)
    thread.start()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=work)
    try:
        assert is_in.wait(10)
        with single_thread._lock:  # as a thread that is about to enter may hold it
            child.start()
        assert receiver.poll(20), "the forked process hangs"
        one_each = [1] * len(expected), 1
        assert receiver.recv() == (expected, one_each, expected, 3)
    finally:
        may_leave.set()
        thread.join(20)
        child.kill()
        child.join()
