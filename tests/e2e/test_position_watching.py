"""Position watching with customers and riders at different servers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bench.common.scenario import LAT, LNG
from tests.e2e.fleet import fleet
from tests.e2e.process_stats import read_metric
from tests.e2e.two_server_scenario import TwoServerScenario, next_fix
from tests.waiting import Until

pytestmark = pytest.mark.slow

# Shorter than in production, where a rider is lost after 45 s. Units: milliseconds.
FRESH_MS, LOST_MS = "2500", "5000"
DEADLINE_S = 30.0
# A stuck reader is cut eight seconds after its buffers are full.
DISCONNECT_TIMEOUT_S, FIXES_PER_POLL = 60.0, 100
SUPERSEDED_METRIC = 'reeyo_events_dropped_total{reason="superseded"}'
SLOW_READER_METRIC = 'reeyo_sockets_ended_total{namespace="/user",reason="slow_reader"}'


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(tmp_path: Any) -> AsyncIterator[TwoServerScenario]:
    """Two servers that share their stores."""
    settings = {"FIX_FRESH_MS": FRESH_MS, "FIX_LOST_MS": LOST_MS}
    async with fleet(tmp_path, ["all", "all"], **settings) as servers:
        created = TwoServerScenario(servers)
        yield created
        created.close()
        assert [node.log_faults for node in servers.nodes] == [[], []]


async def test_all_watchers_see_the_same_positions(
    scenario: TwoServerScenario, until: Until
) -> None:
    """All watchers at both servers receive every position, in order, then "stale" and "lost".

    A batch of late fixes, some older than the current position, never moves it back.
    """
    order = await scenario.assign_order()
    rider = order.assigned_rider
    screens = [
        await scenario.open_screen(site, order.order_id)
        for site in (scenario.vendor_site, scenario.vendor_site, scenario.rider_site)
    ]
    await rider.socket.call("location_update", next_fix(rider, 10))
    await until.true(lambda: all(10 in screen.north_m for screen in screens), DEADLINE_S)
    now_ms = screens[0].positions[-1]["ts"]
    late = [next_fix(rider, 10 + at, ts=now_ms - 3_000 + at * 100) for at in range(20)]
    newest = next_fix(rider, 40, ts=now_ms + 1)
    await rider.socket.call("location_batch", {"fixes": [*reversed(late), newest]})
    await until.true(lambda: all(40 in screen.north_m for screen in screens), DEADLINE_S)
    await until.true(
        lambda: all(screen.positions[-1]["state"] == "lost" for screen in screens), DEADLINE_S
    )

    for screen in screens:
        states = [each["state"] for each in screen.positions]
        assert states[-2:] == ["stale", "lost"]
        assert screen.north_m == sorted(screen.north_m)
        assert [each["ts"] for each in screen.positions] == sorted(
            each["ts"] for each in screen.positions
        )
        assert screen.rider_ids == ["rdr_0"] * len(screen.positions)


async def test_a_reassigned_order_shows_only_its_new_rider(
    scenario: TwoServerScenario, until: Until
) -> None:
    """After a give-back the customer sees only the next rider, though the first still reports.

    The two riders report at different servers.
    """
    order = await scenario.assign_order()
    first = order.assigned_rider
    screens = [
        await scenario.open_screen(site, order.order_id)
        for site in (scenario.vendor_site, scenario.rider_site)
    ]
    await first.socket.call("location_update", next_fix(first, 10))
    await until.true(lambda: all(screen.positions for screen in screens), DEADLINE_S)
    ids = {"orderId": order.order_id}
    await first.socket.call("release_delivery", {**ids, "reason": "flat tyre"})
    counts_before = [len(screen.positions) for screen in screens]
    second = await scenario.vendor_scenario.add_rider(1, LAT, LNG)
    async with scenario.riders_reporting():
        rider_id, offer_id = await asyncio.wait_for(order.offers.get(), DEADLINE_S)
        assert rider_id == "rdr_1"
        await second.socket.call("accept_delivery", {**ids, "offerId": offer_id})
    for metres in (20, 30, 40):
        await first.socket.call("location_update", next_fix(first, 100 + metres))
        await second.socket.call("location_update", next_fix(second, metres))
    await until.true(lambda: all(40 in screen.north_m for screen in screens), DEADLINE_S)

    for screen, count in zip(screens, counts_before, strict=True):
        assert set(screen.rider_ids[:count]) == {"rdr_0"}
        assert set(screen.rider_ids[count:]) == {"rdr_1"}
        assert max(screen.north_m) == 40


async def test_a_stuck_reader_delays_no_other_watcher(
    scenario: TwoServerScenario, until: Until
) -> None:
    """A watcher that stops reading gets coalesced positions and is cut; others get every one.

    The customer has three screens at the server to which the rider's fixes come.
    """
    order = await scenario.assign_order()
    rider, site = order.assigned_rider, scenario.rider_site
    good, other, stuck = [await scenario.open_screen(site, order.order_id) for _ in range(3)]
    stuck.stop_reading()
    dropped = await read_metric(site, SUPERSEDED_METRIC)
    sent = 0

    async def is_cut() -> bool:
        nonlocal sent
        for _ in range(FIXES_PER_POLL):
            sent += 1
            await rider.socket.call("location_update", next_fix(rider, sent * 0.01))
        return await read_metric(site, SLOW_READER_METRIC) > 0

    await until.eventually(is_cut, DISCONNECT_TIMEOUT_S)
    await until.true(lambda: len(good.positions) == len(other.positions) == sent, DEADLINE_S)

    assert await read_metric(site, SUPERSEDED_METRIC) > dropped
    assert await read_metric(site, SLOW_READER_METRIC) == 1
