"""Customers and riders at different servers: who sees what, of whom, and when no more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bench.common.scenario import LAT, LNG
from tests.e2e.fleet import fleet
from tests.e2e.memory import figure_of
from tests.e2e.route import Street, drive
from tests.waiting import Until

pytestmark = pytest.mark.slow

# So that a test need not wait for three quarters of a minute. Units: milliseconds.
FRESH_MS, LOST_MS = "2500", "5000"
SLOW_S = 30.0
# A stuck reader is cut after eight seconds of standing still, and fills his buffers before that.
STUCK_S, BURST = 60.0, 100
SUPERSEDED = 'reeyo_events_dropped_total{reason="superseded"}'
CUT = 'reeyo_sockets_ended_total{namespace="/user",reason="slow_reader"}'


@pytest_asyncio.fixture(loop_scope="session")
async def street(tmp_path: Any) -> AsyncIterator[Street]:
    """Two servers that share everything."""
    quick = {"FIX_FRESH_MS": FRESH_MS, "FIX_LOST_MS": LOST_MS}
    async with fleet(tmp_path, ["all", "all"], **quick) as running:
        opened = Street(running)
        yield opened
        opened.close()
        assert [node.faults for node in running.nodes] == [[], []]


async def test_everybody_who_watches_sees_the_same(street: Street, until: Until) -> None:
    """Two screens here and one there see every position; states are pushed; nothing goes back.

    A batch of late fixes, some older than the marker, moves it forward or not at all, at both
    servers; a rider who falls silent is stale, then lost, wherever he is looked at.
    """
    job = await street.open()
    rider = job.carrier
    screens = [
        await street.window(site, job.order_id) for site in (street.here, street.here, street.there)
    ]
    await rider.phone.call("location_update", drive(rider, 10))
    await until.true(lambda: all(10 in screen.north_m for screen in screens), SLOW_S)
    now_ms = screens[0].told[-1]["ts"]
    late = [drive(rider, 10 + at, ts=now_ms - 3_000 + at * 100) for at in range(20)]
    newest = drive(rider, 40, ts=now_ms + 1)
    await rider.phone.call("location_batch", {"fixes": [*reversed(late), newest]})
    await until.true(lambda: all(40 in screen.north_m for screen in screens), SLOW_S)
    await until.true(lambda: all(screen.told[-1]["state"] == "lost" for screen in screens), SLOW_S)

    for screen in screens:
        states = [each["state"] for each in screen.told]
        assert states[-2:] == ["stale", "lost"]
        assert screen.north_m == sorted(screen.north_m)
        assert [each["ts"] for each in screen.told] == sorted(each["ts"] for each in screen.told)
        assert screen.riders == ["rdr_0"] * len(screen.told)


async def test_an_order_that_changes_hands(street: Street, until: Until) -> None:
    """After a rider has given an order back its customer sees the next one, and him no more.

    He goes on to report from his server; the next one reports from the other.
    """
    job = await street.open()
    first = job.carrier
    screens = [await street.window(site, job.order_id) for site in (street.here, street.there)]
    await first.phone.call("location_update", drive(first, 10))
    await until.true(lambda: all(screen.told for screen in screens), SLOW_S)
    order = {"orderId": job.order_id}
    await first.phone.call("release_delivery", {**order, "reason": "flat tyre"})
    seen = [len(screen.told) for screen in screens]
    second = await street.town.hire(1, LAT, LNG)
    async with street.awake():
        rider_id, offer_id = await asyncio.wait_for(job.offers.get(), SLOW_S)
        assert rider_id == "rdr_1"
        await second.phone.call("accept_delivery", {**order, "offerId": offer_id})
    for metres in (20, 30, 40):
        await first.phone.call("location_update", drive(first, 100 + metres))
        await second.phone.call("location_update", drive(second, metres))
    await until.true(lambda: all(40 in screen.north_m for screen in screens), SLOW_S)

    for screen, before in zip(screens, seen, strict=True):
        assert set(screen.riders[:before]) == {"rdr_0"}
        assert set(screen.riders[before:]) == {"rdr_1"}
        assert max(screen.north_m) == 40


async def test_a_screen_that_stands_still_hurts_no_other(street: Street, until: Until) -> None:
    """Who reads no more is shown the newest only, which is counted, and is cut; others see on.

    The customer has three screens at the server to which his rider's fixes come directly.
    """
    job = await street.open()
    rider, site = job.carrier, street.there
    good, other, stuck = [await street.window(site, job.order_id) for _ in range(3)]
    stuck.stand_still()
    dropped = await figure_of(site, SUPERSEDED)
    sent = 0

    async def is_cut() -> bool:
        nonlocal sent
        for _ in range(BURST):
            sent += 1
            await rider.phone.call("location_update", drive(rider, sent * 0.01))
        return await figure_of(site, CUT) > 0

    await until.eventually(is_cut, STUCK_S)
    await until.true(lambda: len(good.told) == len(other.told) == sent, SLOW_S)

    assert await figure_of(site, SUPERSEDED) > dropped
    assert await figure_of(site, CUT) == 1
