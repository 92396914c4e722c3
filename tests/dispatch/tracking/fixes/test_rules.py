"""The limits of fixes follow the settings."""

import pytest

from dispatch.tracking.fixes.rules import FixRules, fix_rules
from tests.handlers.socket_edge import settings


def test_the_defaults_are_those_of_the_settings():
    """The service area of the settings is the only difference."""
    assert fix_rules(settings(service_area="off")) == FixRules()


@pytest.mark.parametrize(("marker_m", "trail_m", "exact_m"), [(80, 30, 30), (40, 90, 40)])
def test_an_exact_fix_is_exact_for_every_use(marker_m: float, trail_m: float, exact_m: float):
    """The lower limit decides which fixes need no further look."""
    rules = fix_rules(settings(accuracy_marker_m=marker_m, accuracy_trail_m=trail_m))
    assert (rules.marker_m, rules.trail_m, rules.exact_m) == (marker_m, trail_m, exact_m)
