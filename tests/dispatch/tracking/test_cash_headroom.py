"""Cash headroom of this node's riders follows the ledger."""

from typing import cast

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.rider_registry import RiderRegistry
from ledger.dynamodb.client import DynamoTable
from ledger.records.cash_holds import reserve_cash
from tests.dispatch.tracking.node import Node

NOW_MS = 1_763_000_000_000


@pytest.fixture
def rider_registry():
    registry = Node().rider_registry
    registry.connect("rdr_1")
    return registry


def headroom_xaf(registry: RiderRegistry) -> int | None:
    """The cash headroom that matching reads of the rider."""
    rider = registry.get("rdr_1")
    return None if rider is None else rider.facts.cash_headroom_xaf


@pytest.mark.engines
async def test_a_cash_hold_reduces_the_headroom(table: DynamoTable, rider_registry: RiderRegistry):
    """From the assignment on, the cash of an order counts against the limit of 50,000."""
    riders = Riders(table, ManualClock())
    headroom = CashHeadroom(riders, rider_registry)
    before = await riders.cash_headroom("rdr_1")
    await table.transact(reserve_cash("ord_1", "rdr_1", 9_500, 50_000, NOW_MS).writes)
    headroom.refresh_soon("rdr_1")
    await headroom.refresh()

    assert before == 50_000
    assert headroom_xaf(rider_registry) == 40_500


class UnavailableOnce:
    """Riders whose table is unavailable at the first call."""

    def __init__(self):
        self.is_unavailable = True

    async def cash_headroom(self, rider_id):
        """The headroom, from the second call on."""
        was_unavailable, self.is_unavailable = self.is_unavailable, False
        if was_unavailable:
            raise StoreUnavailable("dynamodb", "away")
        return 1_000


async def test_a_rider_that_was_not_read_stays_queued(rider_registry: RiderRegistry):
    """After an unavailable store the next refresh reads the same rider."""
    headroom = CashHeadroom(cast("Riders", UnavailableOnce()), rider_registry)
    headroom.refresh_soon("rdr_1")
    with pytest.raises(StoreUnavailable):
        await headroom.refresh()
    await headroom.refresh()

    assert headroom_xaf(rider_registry) == 1_000


async def test_riders_of_other_nodes_are_not_read(rider_registry: RiderRegistry):
    """A rider that is not at this node is not queued."""
    riders = UnavailableOnce()
    headroom = CashHeadroom(cast("Riders", riders), rider_registry)
    headroom.refresh_soon("rdr_9")
    await headroom.refresh()

    assert riders.is_unavailable
