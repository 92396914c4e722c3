"""A ledger with what tests look at it through."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from dispatch.clock import ManualClock
from ledger.commit import Ledger, LedgerRefused
from ledger.dynamo import DynamoTable
from ledger.facts import Fact
from ledger.statements import Statements
from ledger.table import Write


class Books(NamedTuple):
    """Books on a table of their own, with a clock that stands still."""

    table: DynamoTable
    ledger: Ledger
    statements: Statements
    clock: ManualClock

    def another(self) -> Ledger:
        """The same books as another process has them: no shared lock, no shared memory."""
        return Ledger(self.table, self.clock.now_ms)


async def refusal(ledger: Ledger, fact: Fact, guards: Sequence[Write] = ()) -> LedgerRefused:
    """Post what must be refused."""
    with pytest.raises(LedgerRefused) as raised:
        await ledger.post(fact, guards)
    return raised.value
