"""A rider of the simulated city: reports fixes, answers offers, drives, hands orders over."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from city.actors import delivery_job as jobs
from city.actors.city import City
from city.actors.delivery_job import STATES_BEFORE_PICKUP, DeliveryJob
from city.actors.driving import RiderMotion
from city.actors.fix_reporter import FixReporter
from city.client.http_client import Api, ApiRefused
from city.client.socket_client import CommandRefused, SocketClient
from city.model import menu
from city.model.motion import VEHICLES, TruePosition, Vehicle
from city.model.streets import Point

# Source: guess; nearly all deliveries in Douala are made by motorbike.
VEHICLE_SHARES = {"MOTORBIKE": 0.92, "BICYCLE": 0.04, "CAR": 0.04}
REACTION_S = 1.2
# Parking and walking at the shop and at the door.
# Source: GOAL traces (see city/model/gps.py): a walk to a door takes 64 s (median, p10 30 s). The
# demo's time scale of 3 makes that 10 to 21 s; only the last steps are simulated.
HANDOVER_S = 2.0
# A rider who waits for goods without an event fetches the order after this time.
POLL_ORDER_S = 20.0
RELOCATE_AFTER_S = 20.0
OFFERS_WAITING_MAX = 4
PAGE = 20


class OrderWithdrawn(Exception):
    """The order was cancelled or is no longer this rider's."""


@dataclass(frozen=True, slots=True)
class OfferHabits:
    """Shares of offers that a rider accepts and declines; the rest it ignores."""

    accept_share: float
    decline_share: float


@dataclass(slots=True)
class Rider:
    """One rider and its app. Units: metres from the origin."""

    city: City
    rider_id: str
    start: Point
    rng: Random = field(init=False)
    api: Api = field(init=False)
    socket: SocketClient = field(init=False)
    vehicle: Vehicle = field(init=False)
    motion: RiderMotion = field(init=False)
    reporter: FixReporter = field(init=False)
    habits: OfferHabits = field(init=False)
    job: DeliveryJob | None = None
    _offers: asyncio.Queue[dict[str, Any]] = field(init=False)
    # Deadlines of unanswered offers on the steady clock; None once the offer was closed.
    _offer_deadlines: dict[str, float | None] = field(default_factory=dict)
    _ready_orders: set[str] = field(default_factory=set)
    _withdrawn_orders: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rng = self.city.rng(f"rider/{self.rider_id}")
        self.api = self.city.api("RIDER", self.rider_id)
        self.socket = self.city.socket_client("RIDER", self.rider_id, self.on_event)
        self.vehicle = VEHICLES[
            self.rng.choices(list(VEHICLE_SHARES), list(VEHICLE_SHARES.values()))[0]
        ]
        self.motion = RiderMotion(self.city, self.start, self.vehicle, self.rng)
        self.reporter = FixReporter(
            self.city, self.rider_id, self.socket, self.motion.true_position, self.rng
        )
        accept_share = min(0.97, self.rng.betavariate(12, 2))
        self.habits = OfferHabits(accept_share, (1 - accept_share) * 0.7)
        # Overflow: the offer is counted and left unanswered.
        self._offers = asyncio.Queue(maxsize=OFFERS_WAITING_MAX)

    async def run(self) -> None:
        """Work until cancelled."""
        profile = {
            "name": menu.random_person_name(self.rng),
            "phone": menu.random_phone_number(self.rng),
            "vehicle": self.vehicle.name,
        }
        await self.api.put("/rider/profile", profile)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.socket.run())
            group.create_task(self.reporter.run())
            group.create_task(self._announce_availability())
            if self.rng.random() < self.city.behaviour.second_phone_share:
                group.create_task(self._leave_second_phone())
            await self._resume_delivery()
            while True:
                await self._answer_offer(await self._next_offer())

    async def _leave_second_phone(self) -> None:
        """Report from where the rider began, with a phone that the rider does not use."""
        socket = self.city.socket_client("RIDER", self.rider_id, _ignore_event)
        still = TruePosition(self.start, 0.0, 0.0)
        rng = self.city.rng(f"second phone/{self.rider_id}")
        reporter = FixReporter(self.city, self.rider_id, socket, lambda: still, rng)
        async with asyncio.TaskGroup() as group:
            group.create_task(socket.run())
            group.create_task(reporter.run())

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """Handle an event of the server."""
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
            self.reporter.apply_policy(payload)
        elif name == "resync":
            self.city.counters.count("resyncs")
        self._changed.set()

    def _queue_offer(self, offer: dict[str, Any]) -> None:
        self.city.counters.count("offers_received")
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
                self.city.counters.count("availability_announced")

    async def _next_offer(self) -> dict[str, Any]:
        while True:
            try:
                async with asyncio.timeout(self.city.human_delay_s(self.rng, RELOCATE_AFTER_S)):
                    return await self._offers.get()
            except TimeoutError:
                # A rider without offers moves to another place from time to time.
                here = self.motion.true_position().point
                self.motion.start_drive(self.city.random_waiting_point(self.rng, near=here))

    async def _answer_offer(self, offer: dict[str, Any]) -> None:
        counters, offer_id = self.city.counters, str(offer["offerId"])
        await asyncio.sleep(self.city.human_delay_s(self.rng, REACTION_S))
        deadline_s = self._offer_deadlines.pop(offer_id)
        if deadline_s is None or deadline_s < self.city.clock.monotonic_s():
            counters.count(
                "offers_closed_before_answer" if deadline_s is None else "offers_expired"
            )
            return
        answer = {"orderId": offer["orderId"], "offerId": offer_id}
        draw = self.rng.random()
        with self._counting_refusals():
            if draw < self.habits.accept_share:
                await self.socket.call_until_answered("accept_delivery", answer)
                counters.count("offers_accepted")
                await self._deliver(jobs.job_from_offer(offer))
            elif draw < self.habits.accept_share + self.habits.decline_share:
                await self.socket.call_until_answered(
                    "decline_delivery", {**answer, "reason": "too far"}
                )
                counters.count("offers_declined")
            else:
                counters.count("offers_ignored")

    async def _resume_delivery(self) -> None:
        """Continue the delivery that an earlier run of this app has left open."""
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
                if self.rng.random() < self.city.behaviour.breakdown_chance:
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
            self.city.counters.count("deliveries_withdrawn")
        finally:
            self.job = None
            self._ready_orders.clear()
            self._withdrawn_orders.clear()

    async def _drive_to(self, destination: Point) -> None:
        route = self.motion.start_drive(destination)
        arrives_s = asyncio.get_running_loop().time() + route.duration_s
        try:
            async with asyncio.timeout_at(arrives_s):
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    self._check_not_withdrawn()
        except TimeoutError:
            return
        except OrderWithdrawn:
            self.motion.stop()
            raise

    async def _wait_for_goods(self) -> None:
        job = self._current_job()
        if job.is_parcel or job.order_id in self._ready_orders:
            return
        # The goods may have been ready before the order had a rider to send the event to.
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
        """Fetch the order; with `is_event_missed` a change counts as an event that did not come."""
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

    async def _send_command(self, command: str, **fields: object) -> None:
        self._check_not_withdrawn()
        job = self._current_job()
        payload = {"orderId": job.order_id, **fields}
        try:
            await self.socket.call_until_answered(command, payload)
            if self.rng.random() < self.city.behaviour.double_tap_chance:
                await self.socket.send_event(command, payload)
                self.city.counters.count("double_taps")
        except CommandRefused:
            if job.order_id in self._withdrawn_orders:
                raise OrderWithdrawn from None
            raise

    def _check_not_withdrawn(self) -> None:
        if self._current_job().order_id in self._withdrawn_orders:
            raise OrderWithdrawn

    def _current_job(self) -> DeliveryJob:
        assert self.job is not None, "only called during a delivery"
        return self.job

    @contextlib.contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except CommandRefused as refusal:
            self.city.counters.count_error("rider", refusal.command, refusal.code)


def _ignore_event(_name: str, _payload: dict[str, Any]) -> None:
    """Events of a phone that its rider does not use."""
