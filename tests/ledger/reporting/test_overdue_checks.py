"""Audit of what should have happened."""

from ledger.dynamodb.table import Put
from ledger.records.payouts import PayoutState, payout_key, payout_queue_pk
from ledger.reporting.overdue_checks import SETTLEMENT_DUE_MS, check_overdue
from tests.ledger.reporting.audited_ledger import AuditedLedger, run


def test_a_settlement_is_overdue_after_a_minute() -> None:
    """A delivered order may wait a minute; a settled one is never overdue."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.deliver("o2")
        assert await ledger.rules(check_overdue) == set()
        await ledger.clock.sleep(SETTLEMENT_DUE_MS / 1000 + 1)
        assert await ledger.rules(check_overdue) == {"settled_in_time"}

    run(scenario)


def test_a_paid_payout_needs_an_entry() -> None:
    """A payout that is PAID without an entry is a break."""

    async def scenario(ledger: AuditedLedger) -> None:
        key, now_ms = payout_key("p1"), ledger.clock.now_ms()
        item = {
            "PK": key.pk,
            "SK": key.sk,
            "payoutId": "p1",
            "updatedAt": now_ms,
            "GSI2PK": payout_queue_pk(PayoutState.PAID, 0),
            "GSI2SK": f"{now_ms:013d}#p1",
        }
        await ledger.table.transact([Put(item=item)])
        assert await ledger.rules(check_overdue) == {"payout_state"}
        entry = {"PK": key.pk, "SK": "JE#PAID"}
        await ledger.table.transact([Put(item=entry)])
        assert await ledger.rules(check_overdue) == set()

    run(scenario)
