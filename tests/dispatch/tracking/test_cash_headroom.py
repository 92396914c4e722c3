"""Purses: how much cash a rider may still collect, kept as the ledger has it."""

from typing import cast

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.tracking.rider_state import RiderRegistry
from ledger.dynamodb.client import DynamoTable
from ledger.records.cash_holds import reserve_cash

NOW = 1_763_000_000_000


class NullListener:
    """Neither an index nor a service is interested here."""

    def enqueue(self, rider):
        """Nothing."""

    def mark_local(self, order_id):
        """Nothing."""

    def unmark_local(self, order_id):
        """Nothing."""


@pytest.fixture
def rider_registry():
    full = RiderRegistry(NullListener(), NullListener(), fresh_ms=15_000, lost_ms=45_000)
    full.connect("rdr_1")
    return full


@pytest.mark.engines
async def test_a_rider_on_his_way_to_collect_cash_has_less_room(
    table: DynamoTable, rider_registry: RiderRegistry
):
    """What he will collect counts from his accept on; before that he has the whole limit."""
    riders = Riders(table, ManualClock())
    purses = CashHeadroom(riders, rider_registry)
    before = await riders.cash_headroom("rdr_1")
    await table.transact(reserve_cash("ord_1", "rdr_1", 9_500, 50_000, NOW).writes)
    purses.refresh_soon("rdr_1")
    await purses.refresh()

    assert before == 50_000
    assert rider_registry.get("rdr_1").facts.cash_headroom_xaf == 40_500


class UnavailableOnce:
    """Riders whose table is away once."""

    def __init__(self):
        self.is_unavailable = True

    async def cash_headroom(self, rider_id):
        """The room, the second time."""
        away, self.is_unavailable = self.is_unavailable, False
        if away:
            raise StoreUnavailable("dynamodb", "away")
        return 1_000


async def test_a_rider_who_could_not_be_read_waits(rider_registry: RiderRegistry):
    """A store that is away loses nobody's change."""
    purses = CashHeadroom(cast("Riders", UnavailableOnce()), rider_registry)
    purses.refresh_soon("rdr_1")
    with pytest.raises(StoreUnavailable):
        await purses.refresh()
    await purses.refresh()

    assert rider_registry.get("rdr_1").facts.cash_headroom_xaf == 1_000


async def test_riders_of_other_nodes_are_not_read(rider_registry: RiderRegistry):
    """Whoever has no seat here is another node's business."""
    riders = UnavailableOnce()
    purses = CashHeadroom(cast("Riders", riders), rider_registry)
    purses.refresh_soon("rdr_9")
    await purses.refresh()

    assert riders.is_unavailable
