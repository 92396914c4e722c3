"""Books on a fresh table of a real engine, with a clock that stands still."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dispatch.clock import ManualClock
from ledger.commit import Ledger
from ledger.dynamo import DynamoTable, open_table
from ledger.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.schema import ensure_table
from ledger.statements import Statements
from tests.ledger.books import Books


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(dynamodb_endpoint: str) -> AsyncIterator[Any]:
    """One client for all tests of a worker: making it takes longer than most tests."""
    async with open_table(dynamodb_endpoint, "eu-west-1", "none") as opened:
        yield opened._client


@pytest.fixture
async def table(client: Any, table_name: str) -> AsyncIterator[DynamoTable]:
    fresh = DynamoTable(client, table_name)
    await ensure_table(fresh)
    yield fresh
    await fresh.finish()
    await fresh.admin("delete_table")


@pytest.fixture
async def books(table: DynamoTable) -> Books:
    clock = ManualClock()
    return Books(table, Ledger(table, clock.now_ms), Statements(table), clock)


@pytest.fixture
def food() -> Pricing:
    """A basket of 11,999: vendor 10,200, rider 1,500, platform 1,799; 13,499 in all."""
    return price_goods(DEFAULT_RATES["FOOD"], 11_999)
