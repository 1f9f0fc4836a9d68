"""Where vans start."""

DEPOTS = {
    "north": (2, 9),
    "south": (4, 1),
}


def depot_of(zone):
    """The depot that serves a zone."""
    return DEPOTS["north" if zone % 2 else "south"]
