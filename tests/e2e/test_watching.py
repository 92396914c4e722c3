"""Customers and riders at different servers: who sees what, of whom, and when no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bench.harness import Site
from bench.phone import Phone
from bench.stream import METRES_PER_DEGREE
from bench.town import LAT, LNG, Job, Person, Town
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.waiting import Until

pytestmark = pytest.mark.slow

# So that a test need not wait for three quarters of a minute. Units: milliseconds.
FRESH_MS, LOST_MS = "2500", "5000"
SLOW_S = 30.0
STAND_S = 0.5


class Window:
    """One screen of a customer: what it was told of its order, in the order of arrival."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.told: list[dict[str, Any]] = []
        phone.on_position = self._see

    def _see(self, packet: bytes) -> None:
        self.told.append(orjson.loads(packet[packet.index(b"[") :])[1])

    @property
    def riders(self) -> list[str]:
        """Whom it was shown."""
        return [each["riderId"] for each in self.told]

    @property
    def north_m(self) -> list[int]:
        """How far north of the shop each position lay."""
        return [round((each["location"]["lat"] - LAT) * METRES_PER_DEGREE) for each in self.told]


class Street:
    """A shop and its customer at one server, riders at another, and an order between them."""

    def __init__(self, running: Fleet) -> None:
        self.here, self.there = (node.site for node in running.nodes)
        self.town = Town(self.here, seed=1)
        self.away = Town(self.there, seed=1)
        # Whoever is hired at either server is known to both.
        self.away.jobs, self.away.riders = self.town.jobs, self.town.riders

    async def open(self) -> Job:
        """An order that the one rider of the street, who is at the other server, has taken."""
        await self.town.open_shop(0, LAT, LNG)
        await self.town.move_in(0)
        await self.away.hire(0, LAT, LNG)
        who = self.town.customers[0].who
        order = await self.here.ask("POST", "/orders", who, self.town.basket(0))
        job = self.town.note(order["orderId"], 0)
        async with self.awake():
            await self.town.assign(job)
        return job

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """Riders say again and again where they stand, or they are asked nothing."""

        async def stand() -> None:
            while True:
                for rider in self.town.riders.values():
                    rider.stand()
                await asyncio.sleep(STAND_S)

        standing = asyncio.ensure_future(stand())
        try:
            yield
        finally:
            await cancel(standing)

    async def window(self, site: Site, order_id: str) -> Window:
        """One more screen of the customer, at a server."""
        phone = await site.phone(self.town.customers[0].who, lambda _n, _d, _s: None)
        opened = Window(phone)
        await phone.call("subscribe_order", {"orderId": order_id})
        return opened

    def close(self) -> None:
        """Everybody hangs up."""
        self.town.close()


def drive(rider: Person, north_m: float, **more: Any) -> dict[str, Any]:
    """The next fix of a rider, so far north of the shop."""
    rider.fixes += 1
    lat = LAT + north_m / METRES_PER_DEGREE
    return {"lat": lat, "lng": LNG, "accuracy": 5, "seq": rider.fixes, **more}


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
