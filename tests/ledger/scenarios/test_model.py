"""Random flows, in short; see tests.ledger.scenarios.model for the full size."""

import pytest

from ledger.core.order_funds import FundsState, OrderFunds, close_funds
from ledger.dynamodb.table import Update
from ledger.records import effects
from tests.ledger.scenarios import model


def test_random_flows_keep_the_ledger_consistent() -> None:
    """Six state machines of up to fifty steps each find no break."""
    before = model.totals["steps"]
    model.run_state_machine(6, 1)
    assert model.totals["steps"] - before > 100


def test_a_planted_escrow_error_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted error of one franc in the escrow stops the state machine."""

    def leave_one_franc(funds: OrderFunds, state: FundsState, now_ms: int) -> Update:
        closed = close_funds(funds, state, now_ms)
        closed.values[":zero"] = 1
        return closed

    monkeypatch.setattr(effects, "close_funds", leave_one_franc)
    with pytest.raises(AssertionError, match="holds 1"):
        model.run_state_machine(20, 1, shrinks=False)
