"""Tests of the rounds."""

from planner.rounds import order_stops, split_rounds
from planner.time_windows import shift_deadline


def test_few_stops_are_one_round():
    assert len(split_rounds([1, 2, 3])) == 1


def test_the_nearest_stop_comes_first():
    assert order_stops((0, 0), [(5, 5), (1, 0)])[0] == (1, 0)


def test_a_shift_lasts_five_hours():
    assert shift_deadline(8) == 13
