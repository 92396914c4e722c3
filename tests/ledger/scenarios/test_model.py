"""All flows in any order, in short: see tests.ledger.scenarios.model for its full size."""

import pytest

from ledger.core.order_funds import FundsState, OrderFunds, close_funds
from ledger.dynamodb.table import Update
from ledger.records import effects
from tests.ledger.scenarios import model


def test_random_flows_keep_the_ledger_consistent() -> None:
    """Six machines of fifty steps each, audited after every step."""
    before = model.totals["steps"]
    model.run_state_machine(6, 1)
    assert model.totals["steps"] - before > 100


def test_a_planted_escrow_error_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audits are no ornament: a planted error of one franc stops the machine."""

    def greedy(fin: OrderFunds, state: FundsState, now_ms: int) -> Update:
        closed = close_funds(fin, state, now_ms)
        closed.values[":zero"] = 1
        return closed

    monkeypatch.setattr(effects, "close_funds", greedy)
    with pytest.raises(AssertionError, match="holds 1"):
        model.run_state_machine(20, 1, shrinks=False)
