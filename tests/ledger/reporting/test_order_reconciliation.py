"""Reconciliation of an order's funds with its entries."""

import asyncio

import pytest

from ledger.core.facts import PartialRefund
from ledger.reporting.order_reconciliation import reconcile_order
from tests.ledger.reporting.audited_ledger import AuditedLedger, run


def test_funds_that_fit_their_entries_have_no_break() -> None:
    """Escrow and refunds of the funds are those of the entries."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.deliver("o1")
        await ledger.settle("o2")
        await ledger.ledger.post(PartialRefund("o2", "r1", 300, "cold"))
        for order_id in ("o1", "o2"):
            assert await reconcile_order(ledger.table, f"ORDER#{order_id}") == []

    run(scenario)


@pytest.mark.parametrize(("field", "rule"), [("escrow", "escrow"), ("refunded", "refunds")])
def test_funds_that_do_not_fit_are_a_break(field: str, rule: str) -> None:
    """Another escrow or refund than the entries' is found under its rule."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.deliver("o1")
        await ledger.change_funds("o1", **{field: 7})
        found = await reconcile_order(ledger.table, "ORDER#o1")
        assert [(each.invariant, each.subject) for each in found] == [(rule, "ORDER#o1")]

    run(scenario)


def test_a_difference_that_ends_is_no_break() -> None:
    """A difference that is gone at a later read is not reported."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.deliver("o1")
        funds = await ledger.ledger.get_funds("o1")
        assert funds is not None
        await ledger.change_funds("o1", escrow=7)
        reading = asyncio.ensure_future(reconcile_order(ledger.table, "ORDER#o1"))
        await ledger.clock.sleep(0.7)
        await ledger.change_funds("o1", escrow=funds.escrow)
        assert await reading == []

    run(scenario)
