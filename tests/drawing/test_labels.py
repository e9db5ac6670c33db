"""Texts have a width that fits, and numbers few digits."""

import numpy as np
import pytest

from skkan.drawing._labels import level_names, percent, shortened, tick_names, wrapped


def test_a_wrapped_name_has_four_lines_at_most():
    name = wrapped("a name of many words " * 9).split("\n")
    assert len(name) <= 4
    assert max(map(len, name)) <= 24


def test_names_of_columns_are_broken_between_their_words():
    name = wrapped("mean_income_of_all_the_households.of_a-town: 1.25%")
    assert name == "mean_income_of_all_the_\nhouseholds.of_a-town:\n1.25%"


@pytest.mark.parametrize(
    ("ticks", "names"),
    [
        ([-4e6, -2e6, 0.0, 2e6], ["-4e6", "-2e6", "0", "2e6"]),
        ([-0.4, -0.2, 5.6e-17, 0.2], ["-0.4", "-0.2", "0", "0.2"]),
        ([2010.0, 2012.5], ["2010", "2012.5"]),
        ([1.6e9, 1.6e9 + 1], ["1600000000", "1600000001"]),
        ([0.0, 2e-7], ["0", "2e-7"]),
        ([50000.0], ["50000"]),
        ([], []),
    ],
)
def test_ticks_have_exponents_of_their_own(ticks, names):
    """One for all would stand where titles and legends are."""
    assert [name.replace("\N{MINUS SIGN}", "-") for name in tick_names(ticks)] == names


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
