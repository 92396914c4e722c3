"""A shop and its customer at one server, riders at another, and screens wherever one likes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from bench.common.client import SocketClient
from bench.common.harness import RunningServer
from bench.common.scenario import (
    LAT,
    LNG,
    BenchOrder,
    Person,
    Scenario,
)
from bench.common.street import METRES_PER_DEGREE
from tests.e2e.fleet import Fleet, cancel

REPORT_EVERY_S = 0.5


class CustomerScreen:
    """One screen of a customer: what it was told of its order, in the order of arrival."""

    def __init__(self, client: SocketClient) -> None:
        self.client = client
        self.positions: list[dict[str, Any]] = []
        client.on_position = self._on_position

    def _on_position(self, packet: bytes) -> None:
        self.positions.append(orjson.loads(packet[packet.index(b"[") :])[1])

    def stop_reading(self) -> None:
        """Read no more, and let the kernel keep little."""
        wire = self.client._transport
        assert wire is not None, "the line is open"
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.pause_reading()

    @property
    def rider_ids(self) -> list[str]:
        """Whom it was shown."""
        return [each["riderId"] for each in self.positions]

    @property
    def north_m(self) -> list[int]:
        """How far north of the shop each position lay."""
        return [
            round((each["location"]["lat"] - LAT) * METRES_PER_DEGREE) for each in self.positions
        ]


class TwoServerScenario:
    """A shop and its customer at one server, riders at another, and an order between them."""

    def __init__(self, running: Fleet) -> None:
        self.vendor_site, self.rider_site = (node.site for node in running.nodes)
        self.vendor_scenario = Scenario(self.vendor_site, seed=1)
        self.rider_scenario = Scenario(self.rider_site, seed=1)
        # Whoever is hired at either server is known to both.
        self.rider_scenario.orders, self.rider_scenario.riders = (
            self.vendor_scenario.orders,
            self.vendor_scenario.riders,
        )

    async def assign_order(self) -> BenchOrder:
        """An order that the one rider of the street, who is at the other server, has taken."""
        await self.vendor_scenario.add_shop(0, LAT, LNG)
        await self.vendor_scenario.add_customer(0)
        await self.rider_scenario.add_rider(0, LAT, LNG)
        who = self.vendor_scenario.customers[0].identity
        order = await self.vendor_site.request(
            "POST", "/orders", who, self.vendor_scenario.order_body(0)
        )
        job = self.vendor_scenario.add_order(order["orderId"], 0)
        async with self.riders_reporting():
            await self.vendor_scenario.assign(job)
        return job

    @asynccontextmanager
    async def riders_reporting(self) -> AsyncIterator[None]:
        """Riders say again and again where they stand, or they are asked nothing."""

        async def stand() -> None:
            while True:
                for rider in self.vendor_scenario.riders.values():
                    rider.report_position()
                await asyncio.sleep(REPORT_EVERY_S)

        standing = asyncio.ensure_future(stand())
        try:
            yield
        finally:
            await cancel(standing)

    async def open_screen(self, site: RunningServer, order_id: str) -> CustomerScreen:
        """One more screen of the customer, at a server."""
        phone = await site.connect(
            self.vendor_scenario.customers[0].identity, lambda _n, _d, _s: None
        )
        opened = CustomerScreen(phone)
        await phone.call("subscribe_order", {"orderId": order_id})
        return opened

    def close(self) -> None:
        """Everybody hangs up."""
        self.vendor_scenario.disconnect_all()


def next_fix(rider: Person, north_m: float, **fields: Any) -> dict[str, Any]:
    """The next fix of a rider, so far north of the shop."""
    rider.fix_count += 1
    lat = LAT + north_m / METRES_PER_DEGREE
    return {"lat": lat, "lng": LNG, "accuracy": 5, "seq": rider.fix_count, **fields}
