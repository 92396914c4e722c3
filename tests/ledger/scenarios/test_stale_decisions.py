"""A write that was decided on state that has changed since is cancelled."""

import pytest

from tests.ledger.scenarios.stale_decisions import STALE_CASES, StaleCase, is_stopped


@pytest.mark.parametrize("case", STALE_CASES, ids=lambda case: f"{case.flow}-{case.sk}")
def test_a_stale_write_is_cancelled(case: StaleCase) -> None:
    """The item changes before the transaction is sent, and the transaction is cancelled."""
    assert is_stopped(case)
