"""A ledger on a fresh table of the engine, with a clock that stands still."""

import pytest

from dispatch.clock import ManualClock
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from tests.ledger.scenarios.ledger_setup import Books


@pytest.fixture
async def books(table: DynamoTable) -> Books:
    clock = ManualClock()
    return Books(table, Ledger(table, clock.now_ms), Statements(table), clock)


@pytest.fixture
def food_pricing() -> Pricing:
    """A basket of 11,999: vendor 10,200, rider 1,500, platform 1,799; 13,499 in all."""
    return price_goods(DEFAULT_RATES["FOOD"], 11_999)
