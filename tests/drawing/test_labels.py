"""Texts have a width that fits, and numbers few digits."""

import numpy as np
import pytest

from skkan.drawing._labels import level_names, percent, shortened, wrapped


def test_a_wrapped_name_has_four_lines_at_most():
    name = wrapped("a name of many words " * 9).split("\n")
    assert len(name) <= 4
    assert max(map(len, name)) <= 24


def test_long_names_lose_their_middle():
    assert shortened("income", 6) == "income"
    assert shortened("income_2024", 6) == "inc…24"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.338, "34%"),
        (1.0, "100%"),
        (0.0341, "3.4%"),
        (-0.0341, "-3.4%"),
        (0.0996, "10%"),
        (0.0003, "<0.1%"),
        (1e-16, "0%"),
    ],
)
def test_percentages_have_two_digits(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 1.0], ["0", "1"]),
        ([0.0376109370697, 0.5023], ["0.03761", "0.5023"]),
        ([12344.0, 12345.0, 0.123456], ["12344", "12345", "0.12346"]),
        ([-1.0, 0.0, 1e9], ["-1", "0", "1e9"]),
        ([1.00001, 1.00002], ["1.00001", "1.00002"]),
    ],
)
def test_values_are_named_by_few_digits_that_tell_them_apart(values, names):
    assert level_names(np.array(values)) == names
