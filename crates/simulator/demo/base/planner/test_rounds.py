"""Tests of the rounds."""

from planner.rounds import split_rounds


def test_few_stops_are_one_round():
    assert len(split_rounds([1, 2, 3])) == 1
