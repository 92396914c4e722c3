"""The size limits do not contradict each other, and a start with such limits is refused."""

import msgspec
import pytest

from dispatch.settings import Settings, SettingsError
from dispatch.wire.commands import FIXES_PER_BATCH_MAX
from handlers.app.application import HTTP_MODULES
from handlers.app.limits import Relation, check_limits, relations
from handlers.http import webhooks

ROUTES = [route for module in HTTP_MODULES for route in module.ROUTES if module is not webhooks]
SETTINGS = Settings(jwt_secret="s" * 32)
RELATIONS = list(relations(SETTINGS, ROUTES))


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda each: f"{each.inner} in {each.outer}")
def test_every_limit_fits_into_the_one_around_it(relation: Relation):
    """The largest message of every command, the largest body of every route, and the others."""
    assert 0 < relation.inner_size <= relation.outer_size


def test_every_command_and_body_is_among_them():
    """One for each command of each audience, and one for each body."""
    inner = [relation.inner for relation in RELATIONS]
    assert len([name for name in inner if name.startswith("`")]) >= 23
    assert len([name for name in inner if name.startswith("the body of")]) >= 25


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"frame_bytes_max": 16 * 1024},
            "FRAME_BYTES_MAX is 16384, but `location_batch` of /rider",
        ),
        ({"frame_bytes_max": 4096}, "FRAME_BYTES_MAX is 4096, but `rate_order` of /user"),
        ({"http_body_bytes_max": 2048}, "HTTP_BODY_BYTES_MAX is 2048, but the body of POST"),
        ({"fixes_per_s": FIXES_PER_BATCH_MAX + 1}, "the fixes of a batch is 100"),
    ],
)
def test_limits_that_contradict_are_refused(changes: dict[str, int], named: str):
    """The error names both."""
    check_limits(SETTINGS, ROUTES)
    with pytest.raises(SettingsError, match=named):
        check_limits(msgspec.structs.replace(SETTINGS, **changes), ROUTES)
