"""A shop and its customer at one server, riders at another, and screens wherever one likes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from bench.common.client import Phone
from bench.common.harness import Site
from bench.common.open_loop import METRES_PER_DEGREE
from bench.common.scenario import (
    LAT,
    LNG,
    Job,
    Person,
    Town,
)
from tests.e2e.fleet import Fleet, cancel

STAND_S = 0.5


class Window:
    """One screen of a customer: what it was told of its order, in the order of arrival."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.told: list[dict[str, Any]] = []
        phone.on_position = self._see

    def _see(self, packet: bytes) -> None:
        self.told.append(orjson.loads(packet[packet.index(b"[") :])[1])

    def stand_still(self) -> None:
        """Read no more, and let the kernel keep little."""
        wire = self.phone._transport
        assert wire is not None, "the line is open"
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.pause_reading()

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
