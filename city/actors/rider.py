"""A rider: streams where he is, answers offers in his own way, drives, hands over."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from city.actors import delivery_job as jobs
from city.actors.delivery_job import BEFORE_PICKUP, Job
from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, Line, LineDown
from city.model import menu
from city.model.city import World
from city.model.gps import NOMINAL_S, Phone
from city.model.motion import (
    VEHICLES,
    Trip,
    Truth,
    Vehicle,
    drive,
)
from city.model.streets import Point

# Source: guesses: nearly everybody in Douala delivers by motorbike.
FLEET = {"MOTORBIKE": 0.92, "BICYCLE": 0.04, "CAR": 0.04}
REACTION_S = 1.2
# At the shop and at the door a rider parks, walks, speaks.
# Source: GOAL traces (see city/model/gps.py): a walk to a door takes 64 s (median, p10 30 s). The
# demo's time scale of 3 makes that 10 to 21 s; only the last steps are simulated.
HANDOVER_S = 2.0
# Source: wire contract, `location_batch` carries at most 100 fixes.
KEPT_FIXES_MAX = 100
# Source: assumption, no data: per fix, a hole of the mobile network of some seconds.
HOLE_CHANCE, HOLE_MEDIAN_S = 0.002, 6.0
# Source: assumption, no data: an app that got no answer sends its fix twice.
TWICE_CHANCE = 0.005
# A waiting rider asks for himself after so long without news.
LOOK_S = 20.0
IDLE_S = 20.0
# Whoever is silent for 15 s counts as stale and is asked nothing; the way of a fix takes its part.
# Source: wire contract, a rider's last fix may be 15 s old.
SILENT_S_MAX = 12.0
# The first fix goes out as soon as the app is open.
FIRST_FIX_WITHIN_S = 0.5
OFFERS_WAITING_MAX = 4
PAGE = 20
# Source: guess; something breaks on the way to the shop.
BREAKS_DOWN = 0.01


class CalledOff(Exception):
    """The order is not this rider's any more."""


@dataclass(frozen=True, slots=True)
class Temper:
    """How one rider answers offers; what is left to one he lets pass."""

    accepts: float
    declines: float


@dataclass(slots=True)
class Rider:
    """One rider's app, and the rider."""

    world: World
    rider_id: str
    start: Point
    rng: Random = field(init=False)
    api: Api = field(init=False)
    line: Line = field(init=False)
    phone: Phone = field(init=False)
    vehicle: Vehicle = field(init=False)
    temper: Temper = field(init=False)
    interval_s: float = NOMINAL_S
    min_move_m: float = 0.0
    job: Job | None = None
    _trip: Trip | None = None
    _left_at_s: float = 0.0
    _reported: tuple[float, Point] | None = None
    _kept: deque[dict[str, Any]] = field(default_factory=deque)
    _offers: asyncio.Queue[dict[str, Any]] = field(init=False)
    # Offers heard and not yet answered -> until when, on the loop's clock; None once closed.
    _pending: dict[str, float | None] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rng = self.world.rng(f"rider/{self.rider_id}")
        self.api = self.world.api("RIDER", self.rider_id)
        self.line = self.world.line("RIDER", self.rider_id, self.on_event)
        self.phone = Phone(self.world.rng(f"phone/{self.rider_id}"))
        self.vehicle = VEHICLES[self.rng.choices(list(FLEET), list(FLEET.values()))[0]]
        accepts = min(0.97, self.rng.betavariate(12, 2))
        self.temper = Temper(accepts, (1 - accepts) * 0.7)
        self._offers = asyncio.Queue(maxsize=OFFERS_WAITING_MAX)

    async def run(self) -> None:
        """Be on the road until cancelled."""
        profile = {
            "name": menu.person(self.rng),
            "phone": menu.phone(self.rng),
            "vehicle": self.vehicle.name,
        }
        await self.api.put("/rider/profile", profile)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.line.run())
            group.create_task(self._stream())
            group.create_task(self._stay_on_duty())
            await self._resume()
            while True:
                await self._answer(await self._next_offer())

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """What the server says to the rider."""
        order_id = str(payload.get("orderId", ""))
        if name == "delivery_request":
            self._hear_offer(payload)
        elif name == "delivery_request_closed":
            offer_id = str(payload.get("offerId"))
            if offer_id in self._pending:
                self._pending[offer_id] = None
        elif name == "order_ready_for_pickup":
            self._ready.add(order_id)
        elif name == "order_cancelled":
            self._gone.add(order_id)
        elif name == "order_settled":
            self.world.tally.count("orders_settled")
            self.world.tally.settled_xaf += int(payload.get("amount", 0))
        elif name == "tracking_policy":
            asked_s = float(payload.get("intervalMs", 5000)) / 1000
            self.interval_s = min(max(1.0, asked_s), SILENT_S_MAX)
            self.min_move_m = float(payload.get("minDisplacementM", 0))
        elif name == "resync":
            self.world.tally.count("resyncs")
        self._news.set()

    def truth(self) -> Truth:
        """Where the rider really is now."""
        if self._trip is None:
            return Truth(self.start, 0.0, 0.0)
        return self._trip.at(self.world.clock.monotonic_s() - self._left_at_s)

    def _hear_offer(self, offer: dict[str, Any]) -> None:
        self.world.tally.count("offers_heard")
        try:
            self._offers.put_nowait(offer)
        except asyncio.QueueFull:
            self.world.tally.count("offers_overflowed")
            return
        lasts_s = float(offer["expiresInMs"]) / 1000
        self._pending[str(offer["offerId"])] = self.world.clock.monotonic_s() + lasts_s

    async def _stay_on_duty(self) -> None:
        seen = 0
        while True:
            await self.line.opened(seen + 1)
            seen = self.line.openings
            with self._counting_refusals():
                await self.line.insist("set_availability", {"available": True})
                self.world.tally.count("riders_on_duty_said")

    async def _stream(self) -> None:
        await self.line.opened()
        pause_s = self.rng.uniform(0, FIRST_FIX_WITHIN_S)
        while True:
            await asyncio.sleep(pause_s)
            is_moving = self.truth().speed > 0
            pause_s = self.phone.next_interval_s(self.interval_s, is_moving=is_moving)
            self.world.tally.count("reporting_ms", round(pause_s * 1000))
            if self._may_be_silent(pause_s):
                self.world.tally.count("fixes_spared")
                continue
            self._reported = (self.world.clock.monotonic_s(), self.truth().point)
            fix: dict[str, Any] = self.phone.observe(self.truth(), self.world.clock.now_ms())
            if not await self._report(fix):
                self._keep(fix)
            elif self.rng.random() < HOLE_CHANCE:
                self.line.lose(self.world.wait_s(self.rng, HOLE_MEDIAN_S))

    def _may_be_silent(self, pause_s: float) -> bool:
        """Whether the server can do without this fix: he has hardly moved, and the next is soon."""
        if self._reported is None:
            return False
        at_s, there = self._reported
        silent_s = self.world.clock.monotonic_s() + pause_s - at_s
        return silent_s < SILENT_S_MAX and math.dist(there, self.truth().point) < self.min_move_m

    async def _report(self, fix: dict[str, Any]) -> bool:
        if not self.line.is_open:
            return False
        if self._kept:
            return await self._report_kept([*self._kept, fix])
        if not await self.line.say("location_update", fix):
            return False
        self.world.tally.count("fixes_sent")
        if self.rng.random() < TWICE_CHANCE:
            await self.line.say("location_update", fix)
            self.world.tally.count("fixes_sent_twice")
        return True

    async def _report_kept(self, fixes: list[dict[str, Any]]) -> bool:
        try:
            await self.line.call("location_batch", {"fixes": fixes})
        except LineDown:
            return False
        except CommandRefused as refusal:
            self.world.tally.error("rider", refusal.command, refusal.code)
        self.world.tally.count("fixes_sent", len(fixes))
        self.world.tally.count("batches_sent")
        self._kept.clear()
        return True

    def _keep(self, fix: dict[str, Any]) -> None:
        if len(self._kept) >= KEPT_FIXES_MAX - 1:
            self._kept.popleft()
            self.world.tally.count("kept_fixes_dropped")
        self._kept.append(fix)

    async def _next_offer(self) -> dict[str, Any]:
        while True:
            try:
                async with asyncio.timeout(self.world.wait_s(self.rng, IDLE_S)):
                    return await self._offers.get()
            except TimeoutError:
                # Nobody stands in the sun for long: on to the next corner.
                here = self.truth().point
                self._set_out(self.world.corner(self.rng, near=here))

    async def _answer(self, offer: dict[str, Any]) -> None:
        tally, offer_id = self.world.tally, str(offer["offerId"])
        await asyncio.sleep(self.world.wait_s(self.rng, REACTION_S))
        until_s = self._pending.pop(offer_id)
        if until_s is None or until_s < self.world.clock.monotonic_s():
            tally.count("offers_closed_first" if until_s is None else "offers_lapsed")
            return
        answer = {"orderId": offer["orderId"], "offerId": offer_id}
        draw = self.rng.random()
        with self._counting_refusals():
            if draw < self.temper.accepts:
                await self.line.insist("accept_delivery", answer)
                tally.count("offers_accepted")
                await self._deliver(jobs.of_offer(offer))
            elif draw < self.temper.accepts + self.temper.declines:
                await self.line.insist("decline_delivery", {**answer, "reason": "too far"})
                tally.count("offers_declined")
            else:
                tally.count("offers_ignored")

    async def _resume(self) -> None:
        """Go on with the delivery that an earlier run of this app has left open."""
        try:
            page = await self.api.get("/orders", limit=PAGE)
        except ApiRefused as refusal:
            self.world.tally.error("rider", refusal.route, refusal.code)
            return
        for order in page["items"]:
            if jobs.is_open_for(order, self.rider_id):
                self.world.tally.count("deliveries_resumed")
                with self._counting_refusals():
                    await self._deliver(jobs.of_order(order))

    async def _deliver(self, job: Job) -> None:
        self.job = job
        try:
            if job.state == "ASSIGNED":
                await self._go(job.pickup)
                if self.rng.random() < BREAKS_DOWN:
                    await self._say("release_delivery", reason="flat tyre")
                    self.world.tally.count("deliveries_released")
                    return
                await self._say("arrived_pickup")
            if job.state in BEFORE_PICKUP:
                await self._wait_for_goods()
                await self._pause()
                await self._say("pick_up")
            if job.state != "AT_DROPOFF":
                await self._go(job.dropoff)
                await self._say("arrived_dropoff")
            await self._pause()
            cash = {} if job.cash_xaf is None else {"cashCollected": job.cash_xaf}
            await self._say("complete_delivery", **cash)
            self.world.tally.count("deliveries_completed")
        except CalledOff:
            self.world.tally.count("deliveries_called_off")
        finally:
            self.job = None
            self._ready.clear()
            self._gone.clear()

    def _set_out(self, to: Point) -> Trip:
        route = self.world.streets.route(self.truth().point, to)
        trip = drive(route, self.vehicle, self.rng, self.world.time_scale)
        self._trip, self._left_at_s = trip, self.world.clock.monotonic_s()
        return trip

    def _stop(self) -> None:
        """Stop where one is."""
        truth = self.truth()
        self._trip = None
        self.start = truth.point

    async def _go(self, to: Point) -> None:
        trip = self._set_out(to)
        arrives_s = asyncio.get_running_loop().time() + trip.duration_s
        try:
            async with asyncio.timeout_at(arrives_s):
                while True:
                    await self._news.wait()
                    self._news.clear()
                    self._check_mine()
        except TimeoutError:
            return
        except CalledOff:
            self._stop()
            raise

    async def _wait_for_goods(self) -> None:
        job = self._in_hand()
        if job.is_parcel or job.order_id in self._ready:
            return
        # The bag may have waited before there was a rider to tell it to.
        await self._look(missed=False)
        while job.order_id not in self._ready:
            self._check_mine()
            self._news.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                await self._look(missed=True)

    async def _look(self, *, missed: bool) -> None:
        """Ask how the order stands; with `missed` what is new should have come as an event."""
        job = self._in_hand()
        try:
            order = await self.api.get(f"/orders/{job.order_id}")
        except ApiRefused as refusal:
            self.world.tally.error("rider", refusal.route, refusal.code)
            if refusal.status == 404:
                self._gone.add(job.order_id)
            return
        if not jobs.is_open_for(order, self.rider_id):
            self._gone.add(job.order_id)
        elif order["status"] == "READY":
            self._ready.add(job.order_id)
        else:
            return
        if missed:
            self.world.tally.error("rider", "missed_event", str(order["status"]))

    async def _pause(self) -> None:
        await asyncio.sleep(self.world.wait_s(self.rng, HANDOVER_S))
        self._check_mine()

    async def _say(self, command: str, **facts: object) -> None:
        self._check_mine()
        job = self._in_hand()
        try:
            await self.line.insist(command, {"orderId": job.order_id, **facts})
        except CommandRefused:
            if job.order_id in self._gone:
                raise CalledOff from None
            raise

    def _check_mine(self) -> None:
        if self._in_hand().order_id in self._gone:
            raise CalledOff

    def _in_hand(self) -> Job:
        assert self.job is not None, "a delivery goes on"
        return self.job

    @contextlib.contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except CommandRefused as refusal:
            self.world.tally.error("rider", refusal.command, refusal.code)
