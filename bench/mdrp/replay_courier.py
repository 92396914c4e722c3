"""A courier of a replayed day: reports where he is, says yes or no, fetches and brings."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import permutations
from math import sqrt
from typing import Any, NamedTuple

from bench.common.client import Phone, Refused
from bench.mdrp.instances import HALF_SERVICE, Instance, travel
from matching.eta import DETOUR_DEFAULT

# The middle of the replayed city. Units: degrees.
LAT, LNG = 4.05, 9.72
METRES_PER_DEG = 111_195.1
# A courier looks at his phone and decides. Units: minutes of the day.
# Source: own choice, ten seconds.
ANSWER = 1 / 6
# He reports so often. Units: minutes of the day; source: matching design, every five seconds.
REPORT = 1 / 12
# Somebody who asks too early asks again after this. Units: seconds of the wall.
AGAIN_S = 0.02

XY = tuple[float, float]


class Wall:
    """Minutes of the day on a clock that runs `pace` times as fast as life."""

    def __init__(self, first: float, pace: float) -> None:
        self.first = first
        self.pace = pace
        self._began_s = time.monotonic()

    def now(self) -> float:
        """The minute of the day."""
        return self.first + (time.monotonic() - self._began_s) * self.pace / 60

    def unix_ms(self, minute: float) -> int:
        """When a minute of the day is on everybody's clock."""
        return int(time.time() * 1000 + (minute - self.now()) * 60_000 / self.pace)

    async def until(self, minute: float) -> None:
        """Wait for a minute of the day."""
        await asyncio.sleep(max(0.0, minute - self.now()) * 60 / self.pace)


class Leg(NamedTuple):
    """A way from place to place by a bent street. Units: metres, minutes of the day."""

    start: XY
    end: XY
    left_at: float
    arrives_at: float

    def at(self, now: float) -> XY:
        """Where he is; the street is as much longer than the crow flies as streets are."""
        if now >= self.arrives_at:
            return self.end
        share = (now - self.left_at) / (self.arrives_at - self.left_at)
        (x0, y0), (x1, y1) = self.start, self.end
        bend = sqrt(DETOUR_DEFAULT**2 - 1) / 2
        middle = ((x0 + x1) / 2 - bend * (y1 - y0), (y0 + y1) / 2 + bend * (x1 - x0))
        (xa, ya), (xb, yb) = (self.start, middle) if share < 0.5 else (middle, self.end)
        part = 2 * share if share < 0.5 else 2 * share - 1
        return (xa + part * (xb - xa), ya + part * (yb - ya))


class Diary:
    """What happened. Units: minutes of the day, by order's row."""

    def __init__(self) -> None:
        self.door_at: dict[int, float] = {}
        self.asked = 0
        self.declined = 0
        # The row of each order by its id.
        self.row: dict[str, int] = {}


class Courier:
    """One of them; says no where `declines` says so of his row and the order's."""

    def __init__(
        self,
        day: tuple[Instance, Wall, Diary],
        row: int,
        declines: Callable[[int, int], bool],
    ) -> None:
        self._instance, self._wall, self._diary = day
        self._row = row
        self._declines = declines
        who = self._instance.couriers[row]
        self._leg = Leg((who.x, who.y), (who.x, who.y), 0.0, 0.0)
        self._todo: list[str] = []
        self._news = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()
        self._fixes = 0
        self.phone: Phone | None = None

    @property
    def line(self) -> Phone:
        """His open line."""
        assert self.phone is not None, "he has been called"
        return self.phone

    def wind(self, wall: Wall) -> None:
        """The day begins by this clock."""
        self._wall = wall

    def hear(self, name: str, payload: dict[str, Any], _at_s: float) -> None:
        """What the server tells him."""
        if name == "delivery_request":
            task = asyncio.create_task(self._answer(payload))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
        elif name in ("delivery_request_closed", "order_cancelled"):
            if payload["orderId"] in self._todo:
                self._todo.remove(payload["orderId"])
            self._news.set()

    async def _answer(self, offer: dict[str, Any]) -> None:
        wall, row = self._wall, self._diary.row[offer["orderId"]]
        await wall.until(wall.now() + ANSWER)
        said = {"orderId": offer["orderId"], "offerId": offer["offerId"]}
        self._diary.asked += 1
        try:
            if self._declines(self._row, row):
                self._diary.declined += 1
                await self.line.call("decline_delivery", said)
                return
            await self.line.call("accept_delivery", said)
        except Refused:
            # Too late, or his hands are full by now.
            return
        self._todo.append(offer["orderId"])
        self._news.set()

    async def live(self) -> None:
        """His shift, and the deliveries that he has said yes to in it."""
        who, wall = self._instance.couriers[self._row], self._wall
        await wall.until(who.on)
        self._report()
        until_ms = wall.unix_ms(who.off)
        await self.line.call("set_availability", {"available": True, "until": until_ms})
        reports = asyncio.create_task(self._keep_reporting())
        try:
            while self._todo or wall.now() < who.off:
                left_s = max(AGAIN_S, (who.off - wall.now()) * 60 / wall.pace)
                self._news.clear()
                if not self._todo:
                    await _heard(self._news, left_s)
                if self._todo:
                    await self._trip()
            await self.line.call("set_availability", {"available": False})
        finally:
            reports.cancel()

    async def _keep_reporting(self) -> None:
        while True:
            await self._wall.until(self._wall.now() + REPORT)
            self._report()

    def _report(self) -> None:
        lat, lng = degrees(self._leg.at(self._wall.now()), self._wall.pace)
        self._fixes += 1
        self.line.send(
            (
                f'42/rider,["location_update",{{"lat":{lat:.7f},"lng":{lng:.7f},"accuracy":4,'
                f'"ts":{int(time.time() * 1000)},"seq":{self._fixes}}}]'
            ).encode()
        )

    async def _trip(self) -> None:
        """To a shop for all that he has there, then to the doors so that all wait least."""
        orders, wall = self._instance.orders, self._wall
        place = orders[self._diary.row[self._todo[0]]].place
        shop = self._instance.restaurants[place]
        arrived_at = await self._drive((shop.x, shop.y))
        told: set[str] = set()
        while here := [each for each in self._todo if self._place(each) == place]:
            for order_id in here:
                if order_id not in told:
                    told.add(order_id)
                    await self._say("arrived_pickup", order_id)
            ready = max(orders[self._diary.row[each]].ready for each in here)
            if wall.now() >= max(ready, arrived_at + HALF_SERVICE):
                break
            self._news.clear()
            left = max(ready, arrived_at + HALF_SERVICE) - wall.now()
            await _heard(self._news, max(AGAIN_S, left * 60 / wall.pace))
        picked = [each for each in here if await self._pick_up(each)]
        await wall.until(wall.now() + HALF_SERVICE)
        for order_id in self._in_turn(picked):
            row = self._diary.row[order_id]
            arrived_at = await self._drive((orders[row].x, orders[row].y))
            await wall.until(arrived_at + HALF_SERVICE)
            self._diary.door_at[row] = wall.now()
            # He taps as he leaves.
            await wall.until(arrived_at + 2 * HALF_SERVICE)
            await self._say("complete_delivery", order_id)
            self._todo.remove(order_id)

    def _in_turn(self, picked: Sequence[str]) -> Sequence[str]:
        """The sequence of doors in which the sum of all waits is least."""
        orders, start = self._instance.orders, self._leg.end

        def waits(turn: Sequence[str]) -> float:
            at, now, total = start, 0.0, 0.0
            for each in turn:
                door = (orders[self._diary.row[each]].x, orders[self._diary.row[each]].y)
                now += travel(self._instance, at, door) + 2 * HALF_SERVICE
                at, total = door, total + now
            return total

        return min(permutations(picked), key=waits)

    def _place(self, order_id: str) -> int:
        return self._instance.orders[self._diary.row[order_id]].place

    async def _pick_up(self, order_id: str) -> bool:
        """Take the goods; False where the order is no longer his."""
        while order_id in self._todo:
            if await self._say("pick_up", order_id):
                return True
            await asyncio.sleep(AGAIN_S)
        return False

    async def _say(self, command: str, order_id: str) -> bool:
        try:
            await self.line.call(command, {"orderId": order_id})
        except Refused:
            return False
        return True

    async def _drive(self, end: XY) -> float:
        """Go there; when he arrived. Units: metres, minutes of the day."""
        now = self._wall.now()
        start = self._leg.at(now)
        self._leg = Leg(start, end, now, now + travel(self._instance, start, end))
        await self._wall.until(self._leg.arrives_at)
        return self._leg.arrives_at


def degrees(at: XY, pace: float) -> tuple[float, float]:
    """A point of a city that is as much smaller as its clock is faster: speeds are life's.

    Units: metres in, degrees out.
    """
    return (LAT + at[1] / pace / METRES_PER_DEG, LNG + at[0] / pace / METRES_PER_DEG)


async def _heard(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
