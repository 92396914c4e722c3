"""Audit of entries against wallets, orders and account shards."""

from ledger.core.accounts import line_key, listing_key
from ledger.core.facts import Settle, entry_key
from ledger.reporting.cross_checks import cross_check
from ledger.reporting.journal_checks import check_journal
from ledger.reporting.wallet_checks import check_wallets
from tests.ledger.reporting.audited_ledger import AuditedLedger, run

STAGES = (check_wallets, check_journal, cross_check)


def test_a_correct_ledger_has_no_break() -> None:
    """Settled and open orders are consistent with their entries."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.deliver("o2")
        assert await ledger.rules(*STAGES) == set()

    run(scenario)


def test_lines_of_a_missing_entry_are_a_break() -> None:
    """Lines that name an entry that does not exist are found."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.delete(entry_key(Settle("o1")))
        assert "entry_has_its_lines" in await ledger.rules(*STAGES)

    run(scenario)


def test_legs_of_a_missing_line_are_a_break() -> None:
    """An entry whose line does not exist is found, besides the gap in the wallet."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.delete(line_key("VENDOR#v", 1))
        assert await ledger.rules(*STAGES) == {"line_follows", "entry_has_its_lines"}

    run(scenario)


def test_an_unlisted_wallet_is_a_break() -> None:
    """A wallet that moved must be in the list of accounts."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.delete(listing_key("VENDOR#v"))
        assert await ledger.rules(*STAGES) == {"account_is_listed"}

    run(scenario)


def test_a_shard_that_is_not_its_legs_is_a_break() -> None:
    """The balance of an account shard must be the sum of its legs."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.change_balance("PLATFORM#COMMISSION.0", posted=5)
        assert await ledger.rules(*STAGES) == {"account_shards"}

    run(scenario)


def test_an_audit_of_a_part_does_not_know_shards() -> None:
    """An audit that does not start at the beginning skips account shards."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.change_balance("PLATFORM#COMMISSION.0", posted=5)
        from_ms = ledger.clock.now_ms() - 60_000
        assert await ledger.rules(*STAGES, from_ms=from_ms) == set()

    run(scenario)
