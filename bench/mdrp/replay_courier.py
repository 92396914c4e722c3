"""A courier of a day replayed on the server: reports fixes, answers offers, picks up, delivers."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import permutations
from math import sqrt
from typing import Any, NamedTuple

from bench.common.client import CommandRefused, SocketClient
from bench.common.street import METRES_PER_DEGREE
from bench.mdrp.instances import HALF_SERVICE_MINUTES, Instance, travel_minutes
from matching.eta import DETOUR_DEFAULT

# The middle of the replayed city. Units: degrees.
LAT, LNG = 4.05, 9.72
# Time from an offer to the courier's answer. Units: minutes of the day.
# Source: chosen, ten seconds.
ANSWER_MINUTES = 1 / 6
# Interval of fixes. Units: minutes of the day. Source: chosen, every five seconds.
REPORT_EVERY_MINUTES = 1 / 12
# Pause before a command that came too early is repeated. Units: seconds of the wall clock.
RETRY_S = 0.02

XY = tuple[float, float]


class ReplayClock:
    """Minutes of the replayed day, on a clock that runs `speedup` times as fast as the wall's."""

    def __init__(self, start_minute: float, speedup: float) -> None:
        self.start_minute = start_minute
        self.speedup = speedup
        self._started_s = time.monotonic()

    def now(self) -> float:
        """The minute of the day."""
        return self.start_minute + (time.monotonic() - self._started_s) * self.speedup / 60

    def unix_ms(self, minute: float) -> int:
        """Wall-clock time of a minute of the day. Units: Unix milliseconds."""
        return int(time.time() * 1000 + (minute - self.now()) * 60_000 / self.speedup)

    async def wait_until(self, minute: float) -> None:
        """Wait for a minute of the day."""
        await asyncio.sleep(max(0.0, minute - self.now()) * 60 / self.speedup)


class DriveLeg(NamedTuple):
    """A drive from place to place along a bent street. Units: metres, minutes of the day."""

    start: XY
    end: XY
    left_at: float
    arrives_at: float

    def position_at(self, now: float) -> XY:
        """Position at a minute; the street is DETOUR_DEFAULT times as long as the straight line.

        Units: metres.
        """
        if now >= self.arrives_at:
            return self.end
        share = (now - self.left_at) / (self.arrives_at - self.left_at)
        (x0, y0), (x1, y1) = self.start, self.end
        bend = sqrt(DETOUR_DEFAULT**2 - 1) / 2
        middle = ((x0 + x1) / 2 - bend * (y1 - y0), (y0 + y1) / 2 + bend * (x1 - x0))
        (xa, ya), (xb, yb) = (self.start, middle) if share < 0.5 else (middle, self.end)
        part = 2 * share if share < 0.5 else 2 * share - 1
        return (xa + part * (xb - xa), ya + part * (yb - ya))


class ReplayLog:
    """Outcome of a replayed day. Units: minutes of the day, by the order's row."""

    def __init__(self) -> None:
        self.delivered_at: dict[int, float] = {}
        self.offered = 0
        self.declined = 0
        # The row of each order by its id.
        self.row_by_order: dict[str, int] = {}


class ReplayContext(NamedTuple):
    """What all couriers of one replayed day share."""

    instance: Instance
    log: ReplayLog
    # Whether the courier of a row declines the order of a row.
    declines: Callable[[int, int], bool]


class ReplayCourier:
    """One courier of an instance, as an app on the server's public interface."""

    def __init__(self, context: ReplayContext, clock: ReplayClock, row: int) -> None:
        self._instance, self._log, self._declines = context
        self._clock = clock
        self._row = row
        courier = self._instance.couriers[row]
        start = (courier.x, courier.y)
        self._leg = DriveLeg(start, start, 0.0, 0.0)
        self._accepted: list[str] = []
        self._changed = asyncio.Event()
        self._answer_tasks: set[asyncio.Task[None]] = set()
        self._fixes = 0
        self.socket_client: SocketClient | None = None

    @property
    def socket(self) -> SocketClient:
        """The courier's open connection."""
        assert self.socket_client is not None, "the courier is connected before its shift"
        return self.socket_client

    def set_clock(self, clock: ReplayClock) -> None:
        """Replace the clock, before the shift begins."""
        self._clock = clock

    def on_event(self, name: str, payload: dict[str, Any], _at_s: float) -> None:
        """Handle an event of the server."""
        if name == "delivery_request":
            task = asyncio.create_task(self._answer_offer(payload))
            self._answer_tasks.add(task)
            task.add_done_callback(self._answer_tasks.discard)
        elif name in ("delivery_request_closed", "order_cancelled"):
            if payload["orderId"] in self._accepted:
                self._accepted.remove(payload["orderId"])
            self._changed.set()

    async def _answer_offer(self, offer: dict[str, Any]) -> None:
        clock, row = self._clock, self._log.row_by_order[offer["orderId"]]
        await clock.wait_until(clock.now() + ANSWER_MINUTES)
        answer = {"orderId": offer["orderId"], "offerId": offer["offerId"]}
        self._log.offered += 1
        try:
            if self._declines(self._row, row):
                self._log.declined += 1
                await self.socket.call("decline_delivery", answer)
                return
            await self.socket.call("accept_delivery", answer)
        except CommandRefused:
            # Too late, or the courier has reached its capacity since.
            return
        self._accepted.append(offer["orderId"])
        self._changed.set()

    async def run_shift(self) -> None:
        """Work for the shift, and finish the deliveries accepted in it."""
        courier, clock = self._instance.couriers[self._row], self._clock
        await clock.wait_until(courier.on_time)
        self._send_fix()
        until_ms = clock.unix_ms(courier.off_time)
        await self.socket.call("set_availability", {"available": True, "until": until_ms})
        reports = asyncio.create_task(self._report_periodically())
        try:
            while self._accepted or clock.now() < courier.off_time:
                left_s = max(RETRY_S, (courier.off_time - clock.now()) * 60 / clock.speedup)
                self._changed.clear()
                if not self._accepted:
                    await _wait_for_change(self._changed, left_s)
                if self._accepted:
                    await self._run_trip()
            await self.socket.call("set_availability", {"available": False})
        finally:
            reports.cancel()

    async def _report_periodically(self) -> None:
        while True:
            await self._clock.wait_until(self._clock.now() + REPORT_EVERY_MINUTES)
            self._send_fix()

    def _send_fix(self) -> None:
        lat, lng = to_degrees(self._leg.position_at(self._clock.now()), self._clock.speedup)
        self._fixes += 1
        self.socket.send(
            (
                f'42/rider,["location_update",{{"lat":{lat:.7f},"lng":{lng:.7f},"accuracy":4,'
                f'"ts":{int(time.time() * 1000)},"seq":{self._fixes}}}]'
            ).encode()
        )

    async def _run_trip(self) -> None:
        """Pick up all accepted orders of one shop, then deliver them in the best sequence."""
        orders, clock = self._instance.orders, self._clock
        place = orders[self._log.row_by_order[self._accepted[0]]].place
        shop = self._instance.restaurants[place]
        arrived_at = await self._drive_to((shop.x, shop.y))
        announced: set[str] = set()
        while here := [each for each in self._accepted if self._restaurant_of(each) == place]:
            for order_id in here:
                if order_id not in announced:
                    announced.add(order_id)
                    await self._send_command("arrived_pickup", order_id)
            ready = max(orders[self._log.row_by_order[each]].ready for each in here)
            if clock.now() >= max(ready, arrived_at + HALF_SERVICE_MINUTES):
                break
            self._changed.clear()
            left = max(ready, arrived_at + HALF_SERVICE_MINUTES) - clock.now()
            await _wait_for_change(self._changed, max(RETRY_S, left * 60 / clock.speedup))
        picked = [each for each in here if await self._pick_up(each)]
        await clock.wait_until(clock.now() + HALF_SERVICE_MINUTES)
        for order_id in self._best_drop_order(picked):
            row = self._log.row_by_order[order_id]
            arrived_at = await self._drive_to((orders[row].x, orders[row].y))
            await clock.wait_until(arrived_at + HALF_SERVICE_MINUTES)
            self._log.delivered_at[row] = clock.now()
            # The courier marks the order delivered when it leaves.
            await clock.wait_until(arrived_at + 2 * HALF_SERVICE_MINUTES)
            await self._send_command("complete_delivery", order_id)
            self._accepted.remove(order_id)

    def _best_drop_order(self, picked: Sequence[str]) -> Sequence[str]:
        """The sequence of drop-offs with the least total waiting time."""
        orders, start = self._instance.orders, self._leg.end

        def total_wait(sequence: Sequence[str]) -> float:
            at, now, total = start, 0.0, 0.0
            for each in sequence:
                order = orders[self._log.row_by_order[each]]
                door = (order.x, order.y)
                now += travel_minutes(self._instance, at, door) + 2 * HALF_SERVICE_MINUTES
                at, total = door, total + now
            return total

        return min(permutations(picked), key=total_wait)

    def _restaurant_of(self, order_id: str) -> int:
        return self._instance.orders[self._log.row_by_order[order_id]].place

    async def _pick_up(self, order_id: str) -> bool:
        """Pick an order up; False where it was withdrawn."""
        while order_id in self._accepted:
            if await self._send_command("pick_up", order_id):
                return True
            await asyncio.sleep(RETRY_S)
        return False

    async def _send_command(self, command: str, order_id: str) -> bool:
        try:
            await self.socket.call(command, {"orderId": order_id})
        except CommandRefused:
            return False
        return True

    async def _drive_to(self, end: XY) -> float:
        """Drive to a point; when it was reached. Units: metres, minutes of the day."""
        now = self._clock.now()
        start = self._leg.position_at(now)
        self._leg = DriveLeg(start, end, now, now + travel_minutes(self._instance, start, end))
        await self._clock.wait_until(self._leg.arrives_at)
        return self._leg.arrives_at


def to_degrees(at: XY, speedup: float) -> tuple[float, float]:
    """A point of the city on the map, scaled down by the clock's speedup so that speeds are true.

    Units: metres in, degrees out.
    """
    return (LAT + at[1] / speedup / METRES_PER_DEGREE, LNG + at[0] / speedup / METRES_PER_DEGREE)


async def _wait_for_change(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
