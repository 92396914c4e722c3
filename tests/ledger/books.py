"""A ledger with what tests look at it through."""

from typing import NamedTuple

from dispatch.clock import ManualClock
from ledger.commit import Ledger
from ledger.dynamo import DynamoTable
from ledger.statements import Statements


class Books(NamedTuple):
    """Books on a table of their own, with a clock that stands still."""

    table: DynamoTable
    ledger: Ledger
    statements: Statements
    clock: ManualClock

    def another(self) -> Ledger:
        """The same books as another process has them: no shared lock, no shared memory."""
        return Ledger(self.table, self.clock.now_ms)
