"""All flows in any order, in short: see tests.ledger.scenarios.model for its full size."""

import pytest

from ledger.core.order_funds import Fin, FinState, close_fin
from ledger.dynamodb.table import Update
from ledger.records import effects
from tests.ledger.scenarios import model


def test_whatever_happens_the_books_are_right() -> None:
    """Six machines of fifty steps each, audited after every step."""
    before = model.made["steps"]
    model.walk(6, 1)
    assert model.made["steps"] - before > 100


def test_an_escrow_that_keeps_a_franc_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audits are no ornament: a planted error of one franc stops the machine."""

    def greedy(fin: Fin, state: FinState, now_ms: int) -> Update:
        closed = close_fin(fin, state, now_ms)
        closed.values[":zero"] = 1
        return closed

    monkeypatch.setattr(effects, "close_fin", greedy)
    with pytest.raises(AssertionError, match="holds 1"):
        model.walk(20, 1, shrinks=False)
