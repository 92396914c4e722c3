"""Books on a fresh table of a real engine, with a clock that stands still."""

from collections.abc import AsyncIterator

import pytest

from dispatch.clock import ManualClock
from ledger.commit import Ledger
from ledger.dynamo import DynamoTable, open_table
from ledger.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.schema import ensure_table
from ledger.statements import Statements
from tests.ledger.books import Books


@pytest.fixture
async def table(dynamodb_endpoint: str, table_name: str) -> AsyncIterator[DynamoTable]:
    async with open_table(dynamodb_endpoint, "eu-west-1", table_name) as opened:
        await ensure_table(opened)
        yield opened
        await opened.admin("delete_table")


@pytest.fixture
async def books(table: DynamoTable) -> Books:
    clock = ManualClock()
    return Books(table, Ledger(table, clock.now_ms), Statements(table), clock)


@pytest.fixture
def food() -> Pricing:
    """A basket of 11,999: vendor 10,200, rider 1,500, platform 1,799; 13,499 in all."""
    return price_goods(DEFAULT_RATES["FOOD"], 11_999)
