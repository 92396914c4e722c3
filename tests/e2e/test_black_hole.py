"""A rider whose connection is there and says nothing, as one whose mast has burnt down."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.common.scenario import LAT, LNG, Town
from tests.e2e.fleet import fleet
from tests.waiting import Until

# A fifth of the usual times, so that the test is short.
SETTINGS = {
    "FIX_FRESH_MS": "3000", "FIX_LOST_MS": "9000", "PING_INTERVAL_S": "2", "PING_TIMEOUT_S": "2",
}  # fmt: skip
GONE_S = 12.0


@pytest.mark.slow
async def test_a_black_holed_rider_gets_no_offers_and_then_is_gone(tmp_path: Path, until: Until):
    """Nobody closes his connection: his silence alone tells, stage by stage."""
    async with fleet(tmp_path, ["all"], **SETTINGS) as running:
        town = Town(running.nodes[0].site, 1)
        await town.open_shop(0, LAT, LNG)
        await town.move_in(0)
        gone = await town.hire(0, LAT, LNG)
        awake = await town.hire(1, LAT + 0.008, LNG)

        async def around() -> dict[str, Any]:
            path = f"/admin/riders/nearby?lat={LAT}&lng={LNG}&radiusKm=3"
            awake.stand()
            listed = await town.site.ask("GET", path, ("ADMIN", "adm_1"))
            return {each["riderId"]: each["state"] for each in listed["items"]}

        await until.eventually(lambda: _is(around, {"rdr_0": "live", "rdr_1": "live"}))
        # No FIN, no answer to any ping, no fix.
        assert gone.phone._transport is not None
        gone.phone._transport.pause_reading()
        await until.eventually(lambda: _is(around, {"rdr_0": "stale", "rdr_1": "live"}))
        placed = await town.site.ask("POST", "/orders", town.customers[0].who, town.basket(0))
        job = town.note(placed["orderId"], 0)
        await town.assign(job)
        await until.eventually(lambda: _is(around, {"rdr_1": "live"}), deadline_s=GONE_S)
        town.close()

        assert job.carrier is awake
        assert running.nodes[0].faults == []


async def _is(look, wanted) -> bool:
    await asyncio.sleep(0.1)
    return await look() == wanted
