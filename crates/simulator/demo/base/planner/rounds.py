"""Puts stops into rounds."""

MAX_STOPS_PER_ROUND = 48


def split_rounds(stops):
    """Cuts a list of stops into rounds that one van can do."""
    return [
        stops[start : start + MAX_STOPS_PER_ROUND]
        for start in range(0, len(stops), MAX_STOPS_PER_ROUND)
    ]
