"""Puts stops into rounds."""

from planner.street_map import nearest_stop
from planner.time_windows import open_stops, shift_deadline

MAX_STOPS_PER_ROUND = 36
BREAK_AFTER_STOPS = 14


def order_stops(start, stops):
    """Puts stops into the order in which a van reaches them."""
    ordered = []
    here = start
    left = list(stops)
    while left:
        here = nearest_stop(here, left)
        left.remove(here)
        ordered.append(here)
    return ordered


def split_rounds(stops):
    """Cuts a list of stops into rounds that one van can do."""
    return [
        stops[begin : begin + MAX_STOPS_PER_ROUND]
        for begin in range(0, len(stops), MAX_STOPS_PER_ROUND)
    ]


def plan_morning(start, stops, hour):
    """The rounds of a morning, as far as they can be done in time."""
    waiting = open_stops(stops, hour)
    deadline = shift_deadline(hour)
    ordered = order_stops(start, waiting)
    rounds = split_rounds(ordered)
    return rounds, deadline
