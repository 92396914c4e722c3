"""A ledger with what tests look at it through."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from dispatch.clock import ManualClock
from ledger.core.facts import Fact
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Write
from ledger.posting.errors import LedgerRefused
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements


class Books(NamedTuple):
    """Books on a table of their own, with a clock that stands still."""

    table: DynamoTable
    ledger: Ledger
    statements: Statements
    clock: ManualClock

    def another_ledger(self) -> Ledger:
        """The same books as another process has them: no shared lock, no shared memory."""
        return Ledger(self.table, self.clock.now_ms)


async def expect_refusal(ledger: Ledger, fact: Fact, guards: Sequence[Write] = ()) -> LedgerRefused:
    """Post what must be refused."""
    with pytest.raises(LedgerRefused) as raised:
        await ledger.post(fact, guards)
    return raised.value
