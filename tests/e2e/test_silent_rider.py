"""A rider whose connection is there and says nothing, as one whose mast has burnt down."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.common.scenario import LAT, LNG, Scenario
from tests.e2e.fleet import fleet
from tests.waiting import Until

# A fifth of the usual times, so that the test is short.
SETTINGS = {
    "FIX_FRESH_MS": "3000", "FIX_LOST_MS": "9000", "PING_INTERVAL_S": "2", "PING_TIMEOUT_S": "2",
}  # fmt: skip
OFFLINE_TIMEOUT_S = 12.0


@pytest.mark.slow
async def test_a_black_holed_rider_gets_no_offers_and_then_is_gone(tmp_path: Path, until: Until):
    """Nobody closes his connection: his silence alone tells, stage by stage."""
    async with fleet(tmp_path, ["all"], **SETTINGS) as running:
        town = Scenario(running.nodes[0].site, 1)
        await town.add_shop(0, LAT, LNG)
        await town.add_customer(0)
        gone = await town.add_rider(0, LAT, LNG)
        awake = await town.add_rider(1, LAT + 0.008, LNG)

        async def around() -> dict[str, Any]:
            path = f"/admin/riders/nearby?lat={LAT}&lng={LNG}&radiusKm=3"
            awake.report_position()
            listed = await town.site.request("GET", path, ("ADMIN", "adm_1"))
            return {each["riderId"]: each["state"] for each in listed["items"]}

        await until.eventually(lambda: _equals_soon(around, {"rdr_0": "live", "rdr_1": "live"}))
        # No FIN, no answer to any ping, no fix.
        assert gone.socket._transport is not None
        gone.socket._transport.pause_reading()
        await until.eventually(lambda: _equals_soon(around, {"rdr_0": "stale", "rdr_1": "live"}))
        placed = await town.site.request(
            "POST", "/orders", town.customers[0].identity, town.order_body(0)
        )
        job = town.add_order(placed["orderId"], 0)
        await town.assign(job)
        await until.eventually(
            lambda: _equals_soon(around, {"rdr_1": "live"}), deadline_s=OFFLINE_TIMEOUT_S
        )
        town.disconnect_all()

        assert job.assigned_rider is awake
        assert running.nodes[0].log_faults == []


async def _equals_soon(read, expected) -> bool:
    await asyncio.sleep(0.1)
    return await read() == expected
