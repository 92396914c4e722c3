"""Purses: how much cash a rider may still collect, kept as the ledger has it."""

from typing import cast

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.riders.store import Riders
from dispatch.tracking.cash_headroom import Purses
from dispatch.tracking.rider_state import Roster
from ledger.dynamodb.client import DynamoTable
from ledger.records.cash_holds import reserve_cash

NOW = 1_763_000_000_000


class Nobody:
    """Neither an index nor a service is interested here."""

    def touch(self, seat):
        """Nothing."""

    def serve(self, order_id):
        """Nothing."""

    def unserve(self, order_id):
        """Nothing."""


@pytest.fixture
def roster():
    full = Roster(Nobody(), Nobody(), fresh_ms=15_000, lost_ms=45_000)
    full.seat("rdr_1")
    return full


@pytest.mark.engines
async def test_a_rider_on_his_way_to_collect_cash_has_less_room(table: DynamoTable, roster: Roster):
    """What he will collect counts from his accept on; before that he has the whole limit."""
    riders = Riders(table, ManualClock())
    purses = Purses(riders, roster)
    before = await riders.cash_headroom("rdr_1")
    await table.transact(reserve_cash("ord_1", "rdr_1", 9_500, 50_000, NOW).writes)
    purses.touch("rdr_1")
    await purses.look()

    assert before == 50_000
    assert roster.get("rdr_1").facts.cash_headroom_xaf == 40_500


class Away:
    """Riders whose table is away once."""

    def __init__(self):
        self.is_away = True

    async def cash_headroom(self, rider_id):
        """The room, the second time."""
        away, self.is_away = self.is_away, False
        if away:
            raise StoreUnavailable("dynamodb", "away")
        return 1_000


async def test_a_rider_who_could_not_be_read_waits(roster: Roster):
    """A store that is away loses nobody's change."""
    purses = Purses(cast("Riders", Away()), roster)
    purses.touch("rdr_1")
    with pytest.raises(StoreUnavailable):
        await purses.look()
    await purses.look()

    assert roster.get("rdr_1").facts.cash_headroom_xaf == 1_000


async def test_riders_of_other_nodes_are_not_read(roster: Roster):
    """Whoever has no seat here is another node's business."""
    riders = Away()
    purses = Purses(cast("Riders", riders), roster)
    purses.touch("rdr_9")
    await purses.look()

    assert riders.is_away
