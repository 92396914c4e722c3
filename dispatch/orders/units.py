"""Unit conversions used by the order modules."""

METRES_PER_KM = 1000
MINUTE_MS = 60_000
