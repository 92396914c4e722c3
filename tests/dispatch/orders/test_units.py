"""Unit conversions."""

from dispatch.orders import units


def test_conversions_agree_with_their_names():
    """A kilometre in metres, a minute in milliseconds."""
    assert (units.METRES_PER_KM, units.MINUTE_MS) == (1_000, 60 * 1_000)
