"""The town as matching sees it: riders, orders and places as columns, in minutes and metres; pure.

Step 4 of an order's way, where all are decided at once: orders.outlook -> [here] -> orders.verdict.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import cos, hypot, inf, radians
from typing import NamedTuple

import numpy as np

from dispatch.model import DispatchState, OfferPolicy, Order, PaymentMethod, Place
from dispatch.orders.batch.prep_time import ready_at_ms
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.tracking.stores.rider_facts import IndexedRider
from ledger.core.pricing import Service
from matching.acceptance import acceptance_chance
from matching.eta import DETOUR_DEFAULT, load_kg
from matching.geo import EARTH_RADIUS_M
from matching.prep_times import FadedSum
from matching.problem import (
    ANY_VEHICLE,
    NO_ZONE,
    CommittedRider,
    Floats,
    Orders,
    Places,
    Problem,
    Riders,
    Rules,
    Stop,
)

MINUTE_MS = 60_000
# A rider who says yes is on his way at the latest so long after he was asked. Units: minutes.
# Source: own choice, three glances at the phone. A minute that he waits at the shop counts 0.15 of
# one by which the goods come late: the slow answer counts, and not the usual one.
ANSWER_MINUTES = 0.5
# Whoever is busy is not free before this, however late he is. Units: minutes.
SOONEST_FREE_MINUTES = 1.0
# Places from which nothing is open now but often was; the rest is not part of the picture.
DEMAND_PLACES_MAX = 200

# No rider is called back from what he has said yes to for less. Units: minutes.
# Source: own choice, what he and the customer will think of it.
REASSIGN_GAIN_MINUTES = 3.0

XY = tuple[float, float]


class BatchInput(NamedTuple):
    """All that is known at one moment. Units: Unix ms; metres per second along the street.

    `batched` are the services that are decided here; `held` says of which order a rider holds an
    offer; `demand` how many orders came from a place of late. In a replay that is `pace` times
    faster than life, so are the minutes.
    """

    now_ms: int
    orders: Collection[Order]
    riders: Sequence[IndexedRider]
    policies: Mapping[Service, OfferPolicy]
    batched_services: Collection[Service]
    paused: Mapping[str, int]
    offer_holds: Mapping[str, str]
    answers: Mapping[str, FadedSum]
    prep_times: Mapping[str, Mapping[str, FadedSum]]
    speeds_mps: Mapping[str | None, float]
    demand: Mapping[XY, float]
    fresh_ms: int
    time_scale: float

    def minutes_from_now(self, ts_ms: float) -> float:
        """A moment as matching counts it: minutes from now."""
        return (ts_ms - self.now_ms) * self.time_scale / MINUTE_MS


class RiderRow(NamedTuple):
    """A rider who takes part: where and when he is free, and his way until then if it is fixed."""

    rider: IndexedRider
    free_xy: XY
    free_at: float
    stops: Sequence[tuple[Order, bool]] = ()
    arrives_at: float = 0.0


class BatchProblem(NamedTuple):
    """A problem, with what its rows stand for; `out` says why other riders take no part."""

    problem: Problem
    riders: Sequence[RiderRow]
    orders: Sequence[Order]
    excluded: Sequence[tuple[IndexedRider, str]]


def place_of(order: Order) -> XY:
    """Where the goods are, as far as places are told apart. Units: degrees, a tenth of a metre."""
    return (round(order.pickup.lat, 6), round(order.pickup.lng, 6))


def is_undecided(order: Order, batched_services: Collection[Service]) -> bool:
    """Whether an order is to be decided: it searches, holds no offer, nobody was wished for it."""
    dispatch = order.dispatch
    if (
        dispatch is None
        or not waves.is_searching(order)
        or order.order_type not in batched_services
    ):
        return False
    return not dispatch.offers and not waves.has_unasked_wanted_rider(dispatch)


class _PlaneProjection:
    """A plane around the orders; good within a city."""

    def __init__(self, batch_input: BatchInput) -> None:
        pickups = [order.pickup for order in batch_input.orders]
        self._lat = sum(each.lat for each in pickups) / max(1, len(pickups))
        self._lng = sum(each.lng for each in pickups) / max(1, len(pickups))
        self._metres_per_lat_deg = radians(1) * EARTH_RADIUS_M
        self._metres_per_lng_deg = self._metres_per_lat_deg * cos(radians(self._lat))

    def xy(self, lat: float, lng: float) -> XY:
        """Units: degrees in, metres out."""
        return (
            (lng - self._lng) * self._metres_per_lng_deg,
            (lat - self._lat) * self._metres_per_lat_deg,
        )

    def xy_of(self, place: Place) -> XY:
        """The same of a place."""
        return self.xy(place.lat, place.lng)


class _ProblemBuilder:
    def __init__(self, batch_input: BatchInput) -> None:
        self.batch_input = batch_input
        self.projection = _PlaneProjection(batch_input)
        tick = max(
            batch_input.policies[each].batch_every_ms for each in batch_input.batched_services
        )
        self.rules = Rules(
            tick=tick * batch_input.time_scale / MINUTE_MS + ANSWER_MINUTES,
            reassignment_threshold=REASSIGN_GAIN_MINUTES,
        )
        self._after_pickup: dict[str, list[Order]] = {}
        self._before_pickup: dict[str, list[Order]] = {}
        self._offered: dict[str, list[Order]] = {}
        for order in batch_input.orders:
            self._group_by_rider(order)

    def _group_by_rider(self, order: Order) -> None:
        """Whose an order is."""
        if waves.is_after_pickup(order) and order.rider_id:
            self._after_pickup.setdefault(order.rider_id, []).append(order)
        elif waves.is_before_pickup(order) and order.rider_id:
            self._before_pickup.setdefault(order.rider_id, []).append(order)
        elif (
            order.order_type in self.batch_input.batched_services
            and len(dispatch_of(order).offers) == 1
        ):
            [rider] = dispatch_of(order).offers
            self._offered.setdefault(rider, []).append(order)

    def build(self) -> BatchProblem:
        """All columns."""
        town = self.batch_input
        riders: list[RiderRow] = []
        out: list[tuple[IndexedRider, str]] = []
        for seen in town.riders:
            bar = self._exclusion(seen)
            if bar is None:
                riders.append(self._rider_row(seen))
            else:
                out.append((seen, bar))
        bound = [(row, order) for row in riders for order, is_pickup in row.stops if is_pickup]
        orders = [each for each in town.orders if is_undecided(each, town.batched_services)]
        orders += [order for _, order in bound]
        return BatchProblem(self._matching_problem(riders, orders), riders, orders, out)

    def _exclusion(self, indexed: IndexedRider) -> str | None:
        """Why a rider takes no part; None where he does."""
        town, rider = self.batch_input, indexed.rider_id
        age_ms = town.now_ms - indexed.seen_at_ms
        known = len(self._after_pickup.get(rider, ())) + len(self._before_pickup.get(rider, ()))
        held = town.offer_holds.get(rider)
        if not indexed.available:
            return "off duty"
        if age_ms > town.fresh_ms:
            return f"last fix {age_ms // 1000} s old"
        if rider in town.paused:
            return "paused: left offers unread"
        if indexed.active > known or held == "":
            return "carries another order"
        if held is not None and held not in {
            each.order_id for each in self._offered.get(rider, ())
        }:
            return "holds another offer"
        return None

    def _rider_row(self, rider: IndexedRider) -> RiderRow:
        """Where and when a rider is free if nothing changes."""
        at = self.projection.xy(rider.lat, rider.lng)
        carried = self._after_pickup.get(rider.rider_id, [])
        ahead = [
            *self._before_pickup.get(rider.rider_id, ()),
            *self._offered.get(rider.rider_id, ()),
        ]
        ahead.sort(
            key=lambda order: (_distance_m(at, self.projection.xy_of(order.pickup)), order.order_id)
        )
        stops = [*((order, True) for order in ahead), *((order, False) for order in ahead)]
        if carried:
            # He cannot be sent anywhere else before he has brought what he has.
            where, when = self._finish_stops(
                rider, at, [*((each, False) for each in carried), *stops]
            )
            return RiderRow(rider, where, max(SOONEST_FREE_MINUTES, when))
        if not ahead:
            return RiderRow(rider, at, 0.0)
        where, when = self._finish_stops(rider, at, stops)
        is_there = dispatch_of(ahead[0]).state is DispatchState.AT_PICKUP
        way = (
            0.0
            if is_there
            else self._travel_minutes(rider, at, self.projection.xy_of(ahead[0].pickup))
        )
        return RiderRow(rider, where, max(SOONEST_FREE_MINUTES, when), stops, way)

    def _finish_stops(
        self, rider: IndexedRider, start: XY, stops: Sequence[tuple[Order, bool]]
    ) -> tuple[XY, float]:
        """Where and when somebody is done with stops."""
        now, rules = 0.0, self.rules
        for order, is_pickup in stops:
            there = self.projection.xy_of(order.pickup if is_pickup else order.dropoff)
            if there != start:
                now += self._travel_minutes(rider, start, there) + rules.before_handover
            if is_pickup:
                now = max(now, self._ready_minutes(order))
            start, now = there, now + rules.after_handover
        return start, now

    def _travel_minutes(self, rider: IndexedRider, start: XY, end: XY) -> float:
        return hypot(start[0] - end[0], start[1] - end[1]) / self._speed_m_per_minute(rider)

    def _speed_m_per_minute(self, rider: IndexedRider) -> float:
        """Metres a minute, as the crow flies."""
        speeds = self.batch_input.speeds_mps
        mps = speeds.get(rider.vehicle, speeds[None])
        return mps / DETOUR_DEFAULT * MINUTE_MS / 1000 / self.batch_input.time_scale

    def _ready_minutes(self, order: Order) -> float:
        town = self.batch_input
        preps = town.prep_times.get(order.vendor_id or "", {})
        return town.minutes_from_now(ready_at_ms(order, preps, town.now_ms, town.time_scale))

    def _matching_problem(self, riders: Sequence[RiderRow], orders: Sequence[Order]) -> Problem:
        town = self.batch_input
        placed = {order.order_id: at for at, order in enumerate(orders)}
        seats = {row.rider.rider_id: at for at, row in enumerate(riders)}
        bound = [
            CommittedRider(
                at,
                tuple(Stop(placed[order.order_id], is_pickup) for order, is_pickup in row.stops),
                row.arrives_at,
            )
            for at, row in enumerate(riders)
            if row.stops
        ]
        blocked: dict[int, list[int]] = {}
        for at, order in enumerate(orders):
            dispatch, policy = dispatch_of(order), town.policies[order.order_type]
            for rider in dispatch.asked.keys() & seats.keys():
                if not waves.may_ask_again(dispatch, rider, town.now_ms, policy):
                    blocked.setdefault(at, []).append(seats[rider])
        open_places = dict.fromkeys(place_of(order) for order in orders)
        usual = sorted(town.demand, key=lambda each: (-town.demand[each], each))[:DEMAND_PLACES_MAX]
        places = {place: at for at, place in enumerate({**open_places, **dict.fromkeys(usual)})}
        return Problem(
            now=0.0,
            riders=self._rider_columns(riders),
            orders=self._order_columns(orders, places),
            places=self._place_columns(list(places)),
            committed=bound,
            blocked=blocked,
            rules=self.rules,
        )

    def _rider_columns(self, rows: Sequence[RiderRow]) -> Riders:
        town, nobody = self.batch_input, FadedSum()
        seen = [row.rider for row in rows]
        said = [town.answers.get(each.rider_id, nobody) for each in seen]
        untils = [
            inf if each.until_ms is None else town.minutes_from_now(each.until_ms) for each in seen
        ]
        return Riders(
            x=_floats(row.free_xy[0] for row in rows),
            y=_floats(row.free_xy[1] for row in rows),
            free_at=_floats(row.free_at for row in rows),
            until=_floats(untils),
            speed=_floats(self._speed_m_per_minute(each) for each in seen),
            capacity=np.array([each.capacity for each in seen], dtype=np.int64),
            kg=_floats(load_kg(each.vehicle) for each in seen),
            cash=_floats(each.cash_headroom_xaf for each in seen),
            vehicle=np.full(len(rows), ANY_VEHICLE),
            zone=np.full(len(rows), NO_ZONE),
            acceptance_chance=_floats(acceptance_chance(each.total, each.weight) for each in said),
            completion=_floats(_or_nan(each.completion) for each in seen),
            rating=_floats(_or_nan(each.rating) for each in seen),
            active=_floats(each.active for each in seen),
        )

    def _order_columns(self, orders: Sequence[Order], places: Mapping[XY, int]) -> Orders:
        at = [self.projection.xy_of(order.dropoff) for order in orders]
        return Orders(
            place=np.array([places[place_of(order)] for order in orders], dtype=np.int64),
            x=_floats(x for x, _ in at),
            y=_floats(y for _, y in at),
            placed=_floats(self.batch_input.minutes_from_now(order.created_at) for order in orders),
            ready=_floats(self._ready_minutes(order) for order in orders),
            kg=_floats(order.parcel.weight if order.parcel else 0.0 for order in orders),
            cash=_floats(_cash_to_collect_xaf(order) for order in orders),
            vehicles=np.full(len(orders), ANY_VEHICLE),
            zone=np.full(len(orders), NO_ZONE),
            may_share=np.array([order.order_type != "FOOD" for order in orders], dtype=np.bool_),
        )

    def _place_columns(self, places: Sequence[XY]) -> Places:
        at = [self.projection.xy(*place) for place in places]
        demand = _floats(self.batch_input.demand.get(place, 0.0) for place in places)
        return Places(_floats(x for x, _ in at), _floats(y for _, y in at), demand)


def build_problem(batch_input: BatchInput) -> BatchProblem:
    """The columns of a town."""
    return _ProblemBuilder(batch_input).build()


def _cash_to_collect_xaf(order: Order) -> float:
    """What a rider will have to collect; what he has said yes to is reserved already."""
    if order.payment.method is not PaymentMethod.CASH or order.rider_id is not None:
        return 0.0
    return float(order.pricing.total)


def _distance_m(one: XY, other: XY) -> float:
    return hypot(one[0] - other[0], one[1] - other[1])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
