"""Audit: verifies the stored ledger rule by rule and reports breaks; it corrects nothing.

A suspected break is read again with consistent reads before it is reported, since the ledger moves
meanwhile. Wallets are checked by their own lines and entries by themselves; both against each
other by a multiset hash, so that neither has to be held in memory.
"""

from collections.abc import AsyncIterator, Callable

from ledger.dynamodb.table import Table
from ledger.reporting.audit_state import AuditSpan, AuditState
from ledger.reporting.checks import LedgerBreak
from ledger.reporting.cross_checks import cross_check
from ledger.reporting.journal_checks import check_journal
from ledger.reporting.overdue_checks import check_overdue
from ledger.reporting.wallet_checks import check_wallets

# Entries younger than this may not be in an index or in the table yet.
# Source: a call to the table is retried for 5 s, an index lags by less than a second.
CONSISTENT_AFTER_MS = 15_000


class Audit:
    """One audit of a table's ledger; `on_progress` is called now and then."""

    def __init__(
        self,
        table: Table,
        now_ms: Callable[[], int],
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._state = AuditState(table, now_ms, on_progress)

    @property
    def line_count(self) -> int:
        """Wallet lines read so far."""
        return self._state.line_count

    @property
    def entry_count(self) -> int:
        """Journal entries read so far."""
        return self._state.entry_count

    @property
    def account_count(self) -> int:
        """Accounts read so far."""
        return self._state.account_count

    async def find_breaks(
        self, from_ms: int = 0, to_ms: int | None = None
    ) -> AsyncIterator[LedgerBreak]:
        """Every break of a rule, as it is found; none in a correct ledger.

        `from_ms` and `to_ms` bound the lines and entries that are checked.

        Units: Unix milliseconds.

        Errors: TableUnavailable.

        DynamoDB: Query of each wallet and each day's entries, consistent reads of what they name.
        """
        consistent_ms = self._state.now_ms() - CONSISTENT_AFTER_MS
        span = AuditSpan(from_ms, consistent_ms if to_ms is None else min(to_ms, consistent_ms))
        for check in (check_wallets, check_journal, cross_check, check_overdue):
            async for page in check(self._state, span):
                for found in page:
                    yield found
