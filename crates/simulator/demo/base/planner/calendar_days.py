"""Days on which vans drive."""

REST_DAYS = (6,)


def drives_on(weekday):
    """Whether vans drive on a weekday, Monday being 0."""
    return weekday not in REST_DAYS
