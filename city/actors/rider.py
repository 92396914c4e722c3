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
from city.actors.delivery_job import STATES_BEFORE_PICKUP, DeliveryJob
from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, ConnectionLost, SocketClient
from city.model import menu
from city.model.city import City
from city.model.gps import NOMINAL_S, GpsReceiver
from city.model.motion import (
    VEHICLES,
    DrivenRoute,
    TruePosition,
    Vehicle,
    drive,
)
from city.model.streets import Point

# Source: guesses: nearly everybody in Douala delivers by motorbike.
VEHICLE_SHARES = {"MOTORBIKE": 0.92, "BICYCLE": 0.04, "CAR": 0.04}
REACTION_S = 1.2
# At the shop and at the door a rider parks, walks, speaks.
# Source: GOAL traces (see city/model/gps.py): a walk to a door takes 64 s (median, p10 30 s). The
# demo's time scale of 3 makes that 10 to 21 s; only the last steps are simulated.
HANDOVER_S = 2.0
# Source: wire contract, `location_batch` carries at most 100 fixes.
BUFFERED_FIXES_MAX = 100
# Source: assumption, no data: per fix, a hole of the mobile network of some seconds.
OUTAGE_CHANCE, OUTAGE_MEDIAN_S = 0.002, 6.0
# Source: assumption, no data: an app that got no answer sends its fix twice.
DUPLICATE_CHANCE = 0.005
# A waiting rider asks for himself after so long without news.
POLL_ORDER_S = 20.0
RELOCATE_AFTER_S = 20.0
# Whoever is silent for 15 s counts as stale and is asked nothing; the way of a fix takes its part.
# Source: wire contract, a rider's last fix may be 15 s old.
SILENCE_MAX_S = 12.0
# The first fix goes out as soon as the app is open.
FIRST_FIX_WITHIN_S = 0.5
OFFERS_WAITING_MAX = 4
PAGE = 20
# Source: guess; something breaks on the way to the shop.
BREAKDOWN_CHANCE = 0.01


class OrderWithdrawn(Exception):
    """The order is not this rider's any more."""


@dataclass(frozen=True, slots=True)
class OfferHabits:
    """How one rider answers offers; what is left to one he lets pass."""

    accept_share: float
    decline_share: float


@dataclass(slots=True)
class Rider:
    """One rider's app, and the rider."""

    city: City
    rider_id: str
    position: Point
    rng: Random = field(init=False)
    api: Api = field(init=False)
    socket: SocketClient = field(init=False)
    gps: GpsReceiver = field(init=False)
    vehicle: Vehicle = field(init=False)
    habits: OfferHabits = field(init=False)
    interval_s: float = NOMINAL_S
    min_move_m: float = 0.0
    job: DeliveryJob | None = None
    _driven_route: DrivenRoute | None = None
    _departed_at_s: float = 0.0
    _last_report: tuple[float, Point] | None = None
    _buffered_fixes: deque[dict[str, Any]] = field(default_factory=deque)
    _offers: asyncio.Queue[dict[str, Any]] = field(init=False)
    # Offers heard and not yet answered -> until when, on the loop's clock; None once closed.
    _offer_deadlines: dict[str, float | None] = field(default_factory=dict)
    _ready_orders: set[str] = field(default_factory=set)
    _withdrawn_orders: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rng = self.city.rng(f"rider/{self.rider_id}")
        self.api = self.city.api("RIDER", self.rider_id)
        self.socket = self.city.socket_client("RIDER", self.rider_id, self.on_event)
        self.gps = GpsReceiver(self.city.rng(f"phone/{self.rider_id}"))
        self.vehicle = VEHICLES[
            self.rng.choices(list(VEHICLE_SHARES), list(VEHICLE_SHARES.values()))[0]
        ]
        accepts = min(0.97, self.rng.betavariate(12, 2))
        self.habits = OfferHabits(accepts, (1 - accepts) * 0.7)
        self._offers = asyncio.Queue(maxsize=OFFERS_WAITING_MAX)

    async def run(self) -> None:
        """Be on the road until cancelled."""
        profile = {
            "name": menu.random_person_name(self.rng),
            "phone": menu.random_phone_number(self.rng),
            "vehicle": self.vehicle.name,
        }
        await self.api.put("/rider/profile", profile)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.socket.run())
            group.create_task(self._stream_fixes())
            group.create_task(self._announce_availability())
            await self._resume_delivery()
            while True:
                await self._answer_offer(await self._next_offer())

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """What the server says to the rider."""
        order_id = str(payload.get("orderId", ""))
        if name == "delivery_request":
            self._queue_offer(payload)
        elif name == "delivery_request_closed":
            offer_id = str(payload.get("offerId"))
            if offer_id in self._offer_deadlines:
                self._offer_deadlines[offer_id] = None
        elif name == "order_ready_for_pickup":
            self._ready_orders.add(order_id)
        elif name == "order_cancelled":
            self._withdrawn_orders.add(order_id)
        elif name == "order_settled":
            self.city.counters.count("orders_settled")
            self.city.counters.settled_xaf += int(payload.get("amount", 0))
        elif name == "tracking_policy":
            asked_s = float(payload.get("intervalMs", 5000)) / 1000
            self.interval_s = min(max(1.0, asked_s), SILENCE_MAX_S)
            self.min_move_m = float(payload.get("minDisplacementM", 0))
        elif name == "resync":
            self.city.counters.count("resyncs")
        self._changed.set()

    def true_position(self) -> TruePosition:
        """Where the rider really is now."""
        if self._driven_route is None:
            return TruePosition(self.position, 0.0, 0.0)
        return self._driven_route.position_at(self.city.clock.monotonic_s() - self._departed_at_s)

    def _queue_offer(self, offer: dict[str, Any]) -> None:
        self.city.counters.count("offers_heard")
        try:
            self._offers.put_nowait(offer)
        except asyncio.QueueFull:
            self.city.counters.count("offers_overflowed")
            return
        lasts_s = float(offer["expiresInMs"]) / 1000
        self._offer_deadlines[str(offer["offerId"])] = self.city.clock.monotonic_s() + lasts_s

    async def _announce_availability(self) -> None:
        seen = 0
        while True:
            await self.socket.wait_connected(seen + 1)
            seen = self.socket.connect_count
            with self._counting_refusals():
                await self.socket.call_until_answered("set_availability", {"available": True})
                self.city.counters.count("riders_on_duty_said")

    async def _stream_fixes(self) -> None:
        await self.socket.wait_connected()
        pause_s = self.rng.uniform(0, FIRST_FIX_WITHIN_S)
        while True:
            await asyncio.sleep(pause_s)
            is_moving = self.true_position().speed_mps > 0
            pause_s = self.gps.next_interval_s(self.interval_s, is_moving=is_moving)
            self.city.counters.count("reporting_ms", round(pause_s * 1000))
            if self._may_skip_fix(pause_s):
                self.city.counters.count("fixes_spared")
                continue
            self._last_report = (self.city.clock.monotonic_s(), self.true_position().point)
            fix: dict[str, Any] = self.gps.observe(self.true_position(), self.city.clock.now_ms())
            if not await self._send_fix(fix):
                self._buffer_fix(fix)
            elif self.rng.random() < OUTAGE_CHANCE:
                self.socket.simulate_outage(self.city.human_delay_s(self.rng, OUTAGE_MEDIAN_S))

    def _may_skip_fix(self, pause_s: float) -> bool:
        """Whether the server can do without this fix: he has hardly moved, and the next is soon."""
        if self._last_report is None:
            return False
        at_s, there = self._last_report
        silent_s = self.city.clock.monotonic_s() + pause_s - at_s
        return (
            silent_s < SILENCE_MAX_S
            and math.dist(there, self.true_position().point) < self.min_move_m
        )

    async def _send_fix(self, fix: dict[str, Any]) -> bool:
        if not self.socket.is_open:
            return False
        if self._buffered_fixes:
            return await self._send_batch([*self._buffered_fixes, fix])
        if not await self.socket.send_event("location_update", fix):
            return False
        self.city.counters.count("fixes_sent")
        if self.rng.random() < DUPLICATE_CHANCE:
            await self.socket.send_event("location_update", fix)
            self.city.counters.count("fixes_sent_twice")
        return True

    async def _send_batch(self, fixes: list[dict[str, Any]]) -> bool:
        try:
            await self.socket.call("location_batch", {"fixes": fixes})
        except ConnectionLost:
            return False
        except CommandRefused as refusal:
            self.city.counters.count_error("rider", refusal.command, refusal.code)
        self.city.counters.count("fixes_sent", len(fixes))
        self.city.counters.count("batches_sent")
        self._buffered_fixes.clear()
        return True

    def _buffer_fix(self, fix: dict[str, Any]) -> None:
        if len(self._buffered_fixes) >= BUFFERED_FIXES_MAX - 1:
            self._buffered_fixes.popleft()
            self.city.counters.count("kept_fixes_dropped")
        self._buffered_fixes.append(fix)

    async def _next_offer(self) -> dict[str, Any]:
        while True:
            try:
                async with asyncio.timeout(self.city.human_delay_s(self.rng, RELOCATE_AFTER_S)):
                    return await self._offers.get()
            except TimeoutError:
                # Nobody stands in the sun for long: on to the next corner.
                here = self.true_position().point
                self._start_drive(self.city.random_waiting_point(self.rng, near=here))

    async def _answer_offer(self, offer: dict[str, Any]) -> None:
        tally, offer_id = self.city.counters, str(offer["offerId"])
        await asyncio.sleep(self.city.human_delay_s(self.rng, REACTION_S))
        until_s = self._offer_deadlines.pop(offer_id)
        if until_s is None or until_s < self.city.clock.monotonic_s():
            tally.count("offers_closed_first" if until_s is None else "offers_lapsed")
            return
        answer = {"orderId": offer["orderId"], "offerId": offer_id}
        draw = self.rng.random()
        with self._counting_refusals():
            if draw < self.habits.accept_share:
                await self.socket.call_until_answered("accept_delivery", answer)
                tally.count("offers_accepted")
                await self._deliver(jobs.job_from_offer(offer))
            elif draw < self.habits.accept_share + self.habits.decline_share:
                await self.socket.call_until_answered(
                    "decline_delivery", {**answer, "reason": "too far"}
                )
                tally.count("offers_declined")
            else:
                tally.count("offers_ignored")

    async def _resume_delivery(self) -> None:
        """Go on with the delivery that an earlier run of this app has left open."""
        try:
            page = await self.api.get("/orders", limit=PAGE)
        except ApiRefused as refusal:
            self.city.counters.count_error("rider", refusal.route, refusal.code)
            return
        for order in page["items"]:
            if jobs.is_open_for(order, self.rider_id):
                self.city.counters.count("deliveries_resumed")
                with self._counting_refusals():
                    await self._deliver(jobs.job_from_order(order))

    async def _deliver(self, job: DeliveryJob) -> None:
        self.job = job
        try:
            if job.state == "ASSIGNED":
                await self._drive_to(job.pickup)
                if self.rng.random() < BREAKDOWN_CHANCE:
                    await self._send_command("release_delivery", reason="flat tyre")
                    self.city.counters.count("deliveries_released")
                    return
                await self._send_command("arrived_pickup")
            if job.state in STATES_BEFORE_PICKUP:
                await self._wait_for_goods()
                await self._hand_over()
                await self._send_command("pick_up")
            if job.state != "AT_DROPOFF":
                await self._drive_to(job.dropoff)
                await self._send_command("arrived_dropoff")
            await self._hand_over()
            cash = {} if job.cash_xaf is None else {"cashCollected": job.cash_xaf}
            await self._send_command("complete_delivery", **cash)
            self.city.counters.count("deliveries_completed")
        except OrderWithdrawn:
            self.city.counters.count("deliveries_called_off")
        finally:
            self.job = None
            self._ready_orders.clear()
            self._withdrawn_orders.clear()

    def _start_drive(self, destination: Point) -> DrivenRoute:
        route = self.city.streets.route(self.true_position().point, destination)
        trip = drive(route, self.vehicle, self.rng, self.city.time_scale)
        self._driven_route, self._departed_at_s = trip, self.city.clock.monotonic_s()
        return trip

    def _stop(self) -> None:
        """Stop where one is."""
        truth = self.true_position()
        self._driven_route = None
        self.position = truth.point

    async def _drive_to(self, destination: Point) -> None:
        trip = self._start_drive(destination)
        arrives_s = asyncio.get_running_loop().time() + trip.duration_s
        try:
            async with asyncio.timeout_at(arrives_s):
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    self._check_not_withdrawn()
        except TimeoutError:
            return
        except OrderWithdrawn:
            self._stop()
            raise

    async def _wait_for_goods(self) -> None:
        job = self._current_job()
        if job.is_parcel or job.order_id in self._ready_orders:
            return
        # The bag may have waited before there was a rider to tell it to.
        await self._poll_order(is_event_missed=False)
        while job.order_id not in self._ready_orders:
            self._check_not_withdrawn()
            self._changed.clear()
            try:
                async with asyncio.timeout(POLL_ORDER_S):
                    await self._changed.wait()
            except TimeoutError:
                await self._poll_order(is_event_missed=True)

    async def _poll_order(self, *, is_event_missed: bool) -> None:
        """Ask how the order stands; with `missed` what is new should have come as an event."""
        job = self._current_job()
        try:
            order = await self.api.get(f"/orders/{job.order_id}")
        except ApiRefused as refusal:
            self.city.counters.count_error("rider", refusal.route, refusal.code)
            if refusal.status == 404:
                self._withdrawn_orders.add(job.order_id)
            return
        if not jobs.is_open_for(order, self.rider_id):
            self._withdrawn_orders.add(job.order_id)
        elif order["status"] == "READY":
            self._ready_orders.add(job.order_id)
        else:
            return
        if is_event_missed:
            self.city.counters.count_error("rider", "missed_event", str(order["status"]))

    async def _hand_over(self) -> None:
        await asyncio.sleep(self.city.human_delay_s(self.rng, HANDOVER_S))
        self._check_not_withdrawn()

    async def _send_command(self, command: str, **facts: object) -> None:
        self._check_not_withdrawn()
        job = self._current_job()
        try:
            await self.socket.call_until_answered(command, {"orderId": job.order_id, **facts})
        except CommandRefused:
            if job.order_id in self._withdrawn_orders:
                raise OrderWithdrawn from None
            raise

    def _check_not_withdrawn(self) -> None:
        if self._current_job().order_id in self._withdrawn_orders:
            raise OrderWithdrawn

    def _current_job(self) -> DeliveryJob:
        assert self.job is not None, "a delivery goes on"
        return self.job

    @contextlib.contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except CommandRefused as refusal:
            self.city.counters.count_error("rider", refusal.command, refusal.code)
