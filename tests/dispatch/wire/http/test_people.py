"""Body of the standing endpoint: a standing and its reason."""

import pytest

from dispatch.accounts.standing import Standing
from dispatch.wire.http.base import Request
from dispatch.wire.http.people import StandingChange
from tests.dispatch.wire.http.bodies import is_refused, reads_back

REFUSED: list[tuple[type[Request], str]] = [
    (StandingChange, '{"standing":"SUSPENDED"}'),
    (StandingChange, '{"standing":"SUSPENDED","reason":""}'),
    (StandingChange, '{"standing":"suspended","reason":"x"}'),
    (StandingChange, '{"standing":"BANNED","reason":"x"}'),
    (StandingChange, '{"reason":"x"}'),
]


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_can_be_asked_for(standing: Standing):
    """With a reason, which the person reads."""
    assert reads_back(StandingChange, f'{{"standing":"{standing.value}","reason":"papers"}}')


@pytest.mark.parametrize(("body", "raw"), REFUSED)
def test_a_body_out_of_bounds_is_refused(body: type[Request], raw: str):
    """A missing reason, an unknown standing, or none."""
    assert is_refused(body, raw)
