"""One thread inside, the process' own setting outside."""

import threading

import pytest
import torch

from skkan._threads import single_thread


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
    # After the first has left and inside of the second there is still one.
    assert seen == [1, 1]
    assert torch.get_num_threads() == 3


def test_many_concurrent_uses_restore():
    """Whatever the order in which they come and go."""

    def work():
        for _ in range(200):
            with single_thread:
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert torch.get_num_threads() == 3
