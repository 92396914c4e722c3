"""Audit of journal entries."""

from ledger.core.entries import DAY_MS
from ledger.core.facts import PayoutPaid, Settle, entry_key
from ledger.core.order_funds import funds_key
from ledger.dynamodb.table import Put
from ledger.records.payouts import payout_key
from ledger.reporting.audit_state import AuditSpan
from ledger.reporting.journal_checks import check_journal, entry_pages
from tests.ledger.reporting.audited_ledger import AuditedLedger, run


def test_correct_entries_have_no_break() -> None:
    """All entries are read, and nothing is found."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        assert await ledger.rules(check_journal) == set()
        assert ledger.state.entry_count == 3
        assert dict(ledger.state.escrow_sums) == {}

    run(scenario)


def test_entries_are_found_by_day() -> None:
    """A span of one day has that day's entries, a span from the beginning all of them."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.deliver("o1")
        first_ms = ledger.clock.now_ms()
        await ledger.clock.sleep(3 * DAY_MS / 1000)
        await ledger.deliver("o2")

        async def count(span: AuditSpan) -> int:
            pages = entry_pages(ledger.new_state(), span)
            return sum([len(page) async for page in pages])

        now_ms = ledger.clock.now_ms()
        assert await count(AuditSpan(0, now_ms)) == 4
        assert await count(AuditSpan(0, first_ms)) == 2
        assert await count(AuditSpan(now_ms - DAY_MS, now_ms)) == 2

    run(scenario)


def test_an_entry_without_its_orders_funds_is_a_break() -> None:
    """A settlement whose order has no funds cannot be what was planned."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.delete(funds_key("o1"))
        assert await ledger.rules(check_journal) == {"entry_as_planned"}

    run(scenario)


def test_a_leg_without_a_line_is_a_break() -> None:
    """A wallet's leg must name the line it became."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        key = entry_key(Settle("o1"))
        item = await ledger.table.get(key)
        assert item is not None
        legs = [{k: v for k, v in leg.items() if k != "seq"} for leg in item["legs"]]
        await ledger.change(key, legs=legs)
        assert await ledger.rules(check_journal) == {"entry_has_its_lines"}

    run(scenario)


def test_the_entry_of_an_unpaid_payout_is_a_break() -> None:
    """A payout with an entry must be PAID or RETURNED."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        key = payout_key("p1")
        request = {"PK": key.pk, "SK": key.sk, "payoutState": "SUBMITTED"}
        fields = {"ownerId": "v", "ownerType": "VENDOR", "amount": 100}
        await ledger.table.transact([Put(item={**request, **fields})])
        await ledger.change_balance("VENDOR#v", held=100, available=10_100)
        await ledger.ledger.post(PayoutPaid("p1", "VENDOR", "v", 100, "momo"))
        assert await ledger.rules(check_journal) == set()
        await ledger.change(key, payoutState="FAILED")
        assert await ledger.rules(check_journal) == {"payout_state"}

    run(scenario)
