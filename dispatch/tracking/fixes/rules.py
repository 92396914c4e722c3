"""Fix rules: the limits by which fixes are checked, from the settings."""

from typing import NamedTuple

from dispatch.service_area import ServiceArea
from dispatch.settings import Settings

# A fix that is coarser than this says nothing about where in a city its rider is.
# Source: chosen; half of the way across a city, above the range of a city's cell tower.
ACCURACY_SHOWN_MAX_M = 5_000.0
# A rider whose last position was exact stays exact up to this multiple of the limit, so that its
# marker does not change its kind with every fix near the limit. Source: chosen.
HYSTERESIS = 1.3


class FixRules(NamedTuple):
    """The limits of the checks.

    A fix as accurate as `marker_m` moves the marker. A coarser one only shows a circle where no
    exact fix came for `fresh_ms`. Up to `trail_m` it adds a point to the trail, up to `index_m` the
    rider may be offered orders. An older fix than `fresh_ms` is for the trail.

    Units: milliseconds, metres.
    """

    fresh_ms: int = 15_000
    marker_m: float = 50.0
    trail_m: float = 50.0
    index_m: float = 500.0
    area: ServiceArea = ServiceArea()
    # A fix as accurate as this needs no further look: the lower one of `marker_m` and `trail_m`.
    exact_m: float = 50.0


def fix_rules(settings: Settings) -> FixRules:
    """The rules of the settings."""
    marker_m, trail_m = settings.accuracy_marker_m, settings.accuracy_trail_m
    return FixRules(
        fresh_ms=settings.fix_fresh_ms,
        marker_m=marker_m,
        trail_m=trail_m,
        index_m=settings.accuracy_index_m,
        area=settings.area,
        exact_m=min(marker_m, trail_m),
    )
