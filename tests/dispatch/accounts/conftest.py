"""The account store of a test's table."""

import pytest

from dispatch.accounts.store import Accounts
from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable


@pytest.fixture
def accounts(table: DynamoTable, clock: ManualClock) -> Accounts:
    return Accounts(table, clock)
