"""A write whose ground has moved since it was decided is not made."""

import pytest

from tests.ledger.scenarios.stale_decisions import GROUNDS, Ground, is_stopped


@pytest.mark.parametrize("ground", GROUNDS, ids=lambda ground: f"{ground.flow}-{ground.sk}")
def test_a_write_on_moved_ground_is_stopped(ground: Ground) -> None:
    """The transaction meets what it was not decided on, and is cancelled as a whole."""
    assert is_stopped(ground)
