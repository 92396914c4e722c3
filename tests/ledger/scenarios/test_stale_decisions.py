"""A write whose ground has moved since it was decided is not made."""

import pytest

from tests.ledger.scenarios.stale_decisions import STALE_CASES, StaleCase, is_stopped


@pytest.mark.parametrize("case", STALE_CASES, ids=lambda ground: f"{ground.flow}-{ground.sk}")
def test_a_stale_write_is_cancelled(case: StaleCase) -> None:
    """The transaction meets what it was not decided on, and is cancelled as a whole."""
    assert is_stopped(case)
