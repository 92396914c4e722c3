"""A ledger on a table, with what tests use to inspect it."""

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
    """A ledger on a table of its own, with a clock that stands still."""

    table: DynamoTable
    ledger: Ledger
    statements: Statements
    clock: ManualClock

    def another_ledger(self) -> Ledger:
        """The ledger as another process has it: without shared locks and caches."""
        return Ledger(self.table, self.clock.now_ms)


async def expect_refusal(ledger: Ledger, fact: Fact, guards: Sequence[Write] = ()) -> LedgerRefused:
    """Post a fact that must be refused; the refusal."""
    with pytest.raises(LedgerRefused) as raised:
        await ledger.post(fact, guards)
    return raised.value
