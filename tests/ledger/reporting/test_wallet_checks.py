"""Audit of wallets."""

from ledger.core.accounts import line_key
from ledger.core.entries import DAY_MS
from ledger.dynamodb.table import Put
from ledger.records.wallets import Balance, balance_item
from ledger.reporting.wallet_checks import check_wallets
from tests.ledger.reporting.audited_ledger import AuditedLedger, run


def test_correct_wallets_have_no_break() -> None:
    """Every account and line is read, and nothing is found."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        assert await ledger.rules(check_wallets) == set()
        assert ledger.state.account_count == 5
        assert ledger.state.line_count == 4

    run(scenario)


def test_a_missing_line_is_a_break() -> None:
    """A wallet without its first line has no beginning."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.delete(line_key("VENDOR#v", 1))
        assert await ledger.rules(check_wallets) == {"line_follows"}

    run(scenario)


def test_a_hold_without_a_payout_is_a_break() -> None:
    """What a wallet holds must be the sum of its open holds."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.change_balance("VENDOR#v", held=5, available=10_195)
        assert await ledger.rules(check_wallets) == {"held_is_open_holds"}

    run(scenario)


def test_lines_before_the_span_are_not_checked() -> None:
    """An audit of the last second does not find what is missing before it."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        await ledger.settle("o2")
        await ledger.clock.sleep(60)
        await ledger.settle("o3")
        await ledger.delete(line_key("VENDOR#v", 1))
        from_ms = ledger.clock.now_ms() - 1_000
        assert await ledger.rules(check_wallets, from_ms=from_ms) == set()
        assert await ledger.rules(check_wallets) == {"line_follows"}

    run(scenario)


def test_money_in_suspense_for_a_day_is_a_break() -> None:
    """A suspense account may have money, but not for more than a day."""

    async def scenario(ledger: AuditedLedger) -> None:
        now_ms = ledger.clock.now_ms()
        balance = Balance(account="SUSPENSE#X.0", posted=5, v=1, updated_at=now_ms)
        listing = {"PK": "ACCOUNTS#0", "SK": balance.account, "createdAt": now_ms}
        await ledger.table.transact([Put(item=balance_item(balance)), Put(item=listing)])
        assert await ledger.rules(check_wallets) == set()
        await ledger.clock.sleep(DAY_MS / 1000 + 1)
        assert await ledger.rules(check_wallets) == {"suspense_is_empty"}

    run(scenario)
