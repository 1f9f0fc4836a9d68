"""Distances on the map."""


def street_distance(here, there):
    """The way between two points along a grid of streets."""
    return abs(here[0] - there[0]) + abs(here[1] - there[1])


def nearest_stop(here, stops):
    """The stop that is reached first from here."""
    return min(stops, key=lambda stop: street_distance(here, stop))
