"""When customers are at home."""

EARLIEST_HOUR = 7
SHIFT_HOURS = 5


def open_stops(stops, hour):
    """The stops at which somebody opens the door at an hour."""
    if hour < EARLIEST_HOUR:
        return []
    return [stop for stop in stops if stop is not None]


def shift_deadline(hour):
    """The hour at which a shift that begins now has to end."""
    return hour + SHIFT_HOURS
