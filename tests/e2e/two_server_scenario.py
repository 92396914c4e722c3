"""Scenario with a shop and its customer at one server, riders at another, and more screens."""

import asyncio
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
    """One screen of a customer: the positions it received, in the order of arrival."""

    def __init__(self, client: SocketClient) -> None:
        self.client = client
        self.positions: list[dict[str, Any]] = []
        client.on_position = self._on_position

    def _on_position(self, packet: bytes) -> None:
        self.positions.append(orjson.loads(packet[packet.index(b"[") :])[1])

    def stop_reading(self) -> None:
        """Stop reading, with a small receive buffer."""
        self.client.stop_reading(receive_buffer_bytes=4096)

    @property
    def rider_ids(self) -> list[str]:
        """Rider ids of the received positions."""
        return [each["riderId"] for each in self.positions]

    @property
    def north_m(self) -> list[int]:
        """How far north of the shop each received position is. Units: metres."""
        return [
            round((each["location"]["lat"] - LAT) * METRES_PER_DEGREE) for each in self.positions
        ]


class TwoServerScenario:
    """A shop and its customer at one server, riders at another, and an order between them."""

    def __init__(self, running: Fleet) -> None:
        self.vendor_site, self.rider_site = (node.site for node in running.nodes)
        self.vendor_scenario = Scenario(self.vendor_site, seed=1)
        self.rider_scenario = Scenario(self.rider_site, seed=1)
        # Both scenarios share their orders and riders.
        self.rider_scenario.orders, self.rider_scenario.riders = (
            self.vendor_scenario.orders,
            self.vendor_scenario.riders,
        )

    async def assign_order(self) -> BenchOrder:
        """Place an order that the only rider, at the other server, accepts."""
        await self.vendor_scenario.add_shop(0, LAT, LNG)
        await self.vendor_scenario.add_customer(0)
        await self.rider_scenario.add_rider(0, LAT, LNG)
        customer = self.vendor_scenario.customers[0].identity
        placed = await self.vendor_site.request(
            "POST", "/orders", customer, self.vendor_scenario.order_body(0)
        )
        order = self.vendor_scenario.add_order(placed["orderId"], 0)
        async with self.riders_reporting():
            await self.vendor_scenario.assign(order)
        return order

    @asynccontextmanager
    async def riders_reporting(self) -> AsyncIterator[None]:
        """Report all riders' positions repeatedly, without which they get no offers."""

        async def report_repeatedly() -> None:
            while True:
                for rider in self.vendor_scenario.riders.values():
                    rider.report_position()
                await asyncio.sleep(REPORT_EVERY_S)

        reporting = asyncio.ensure_future(report_repeatedly())
        try:
            yield
        finally:
            await cancel(reporting)

    async def open_screen(self, site: RunningServer, order_id: str) -> CustomerScreen:
        """Connect one more screen of the customer at a server."""
        client = await site.connect(
            self.vendor_scenario.customers[0].identity, lambda _n, _d, _s: None
        )
        screen = CustomerScreen(client)
        await client.call("subscribe_order", {"orderId": order_id})
        return screen

    def close(self) -> None:
        """Disconnect all clients."""
        self.vendor_scenario.disconnect_all()


def next_fix(rider: Person, north_m: float, **fields: Any) -> dict[str, Any]:
    """The next fix of a rider, north of the shop. Units: metres."""
    rider.fix_count += 1
    lat = LAT + north_m / METRES_PER_DEGREE
    return {"lat": lat, "lng": LNG, "accuracy": 5, "seq": rider.fix_count, **fields}
