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
from dispatch.tracking.stores.rider_facts import Seen
from ledger.core.pricing import Service
from matching.acceptance import chance_of
from matching.eta import DETOUR_DEFAULT, load_kg
from matching.geo import EARTH_RADIUS_M
from matching.prep_times import Tally
from matching.problem import (
    ANY_VEHICLE,
    NO_ZONE,
    Bound,
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
ANSWER = 0.5
# Whoever is busy is not free before this, however late he is. Units: minutes.
SOON = 1.0
# Places from which nothing is open now but often was; the rest is not part of the picture.
PLACES_MAX = 200

# No rider is called back from what he has said yes to for less. Units: minutes.
# Source: own choice, what he and the customer will think of it.
MOVE = 3.0

XY = tuple[float, float]


class Town(NamedTuple):
    """All that is known at one moment. Units: Unix ms; metres per second along the street.

    `batched` are the services that are decided here; `held` says of which order a rider holds an
    offer; `demand` how many orders came from a place of late. In a replay that is `pace` times
    faster than life, so are the minutes.
    """

    now_ms: int
    orders: Collection[Order]
    riders: Sequence[Seen]
    policies: Mapping[Service, OfferPolicy]
    batched: Collection[Service]
    paused: Mapping[str, int]
    held: Mapping[str, str]
    answers: Mapping[str, Tally]
    preps: Mapping[str, Mapping[str, Tally]]
    speeds_mps: Mapping[str | None, float]
    demand: Mapping[XY, float]
    fresh_ms: int
    pace: float

    def minutes(self, ts_ms: float) -> float:
        """A moment as matching counts it: minutes from now."""
        return (ts_ms - self.now_ms) * self.pace / MINUTE_MS


class Row(NamedTuple):
    """A rider who takes part: where and when he is free, and his way until then if it is fixed."""

    seen: Seen
    at: XY
    free_at: float
    stops: Sequence[tuple[Order, bool]] = ()
    arrives_at: float = 0.0


class Tableau(NamedTuple):
    """A problem, with what its rows stand for; `out` says why other riders take no part."""

    problem: Problem
    riders: Sequence[Row]
    orders: Sequence[Order]
    out: Sequence[tuple[Seen, str]]


def place_of(order: Order) -> XY:
    """Where the goods are, as far as places are told apart. Units: degrees, a tenth of a metre."""
    return (round(order.pickup.lat, 6), round(order.pickup.lng, 6))


def is_open(order: Order, batched: Collection[Service]) -> bool:
    """Whether an order is to be decided: it searches, holds no offer, nobody was wished for it."""
    dispatch = order.dispatch
    if dispatch is None or not waves.wants_rider(order) or order.order_type not in batched:
        return False
    return not dispatch.offers and not waves.wishes(dispatch)


class _Map:
    """A plane around the orders; good within a city."""

    def __init__(self, town: Town) -> None:
        pickups = [order.pickup for order in town.orders]
        self._lat = sum(each.lat for each in pickups) / max(1, len(pickups))
        self._lng = sum(each.lng for each in pickups) / max(1, len(pickups))
        self._north = radians(1) * EARTH_RADIUS_M
        self._east = self._north * cos(radians(self._lat))

    def xy(self, lat: float, lng: float) -> XY:
        """Units: degrees in, metres out."""
        return ((lng - self._lng) * self._east, (lat - self._lat) * self._north)

    def of(self, place: Place) -> XY:
        """The same of a place."""
        return self.xy(place.lat, place.lng)


class _Builder:
    def __init__(self, town: Town) -> None:
        self.town = town
        self.map = _Map(town)
        tick = max(town.policies[each].batch_every_ms for each in town.batched)
        self.rules = Rules(tick=tick * town.pace / MINUTE_MS + ANSWER, move=MOVE)
        self._carried: dict[str, list[Order]] = {}
        self._coming: dict[str, list[Order]] = {}
        self._asked: dict[str, list[Order]] = {}
        for order in town.orders:
            self._sort(order)

    def _sort(self, order: Order) -> None:
        """Whose an order is."""
        if waves.is_carried(order) and order.rider_id:
            self._carried.setdefault(order.rider_id, []).append(order)
        elif waves.is_coming(order) and order.rider_id:
            self._coming.setdefault(order.rider_id, []).append(order)
        elif order.order_type in self.town.batched and len(dispatch_of(order).offers) == 1:
            [rider] = dispatch_of(order).offers
            self._asked.setdefault(rider, []).append(order)

    def build(self) -> Tableau:
        """All columns."""
        town = self.town
        riders: list[Row] = []
        out: list[tuple[Seen, str]] = []
        for seen in town.riders:
            bar = self._bar(seen)
            if bar is None:
                riders.append(self._row(seen))
            else:
                out.append((seen, bar))
        bound = [(row, order) for row in riders for order, is_pickup in row.stops if is_pickup]
        orders = [each for each in town.orders if is_open(each, town.batched)]
        orders += [order for _, order in bound]
        return Tableau(self._problem(riders, orders), riders, orders, out)

    def _bar(self, seen: Seen) -> str | None:
        """Why a rider takes no part; None where he does."""
        town, rider = self.town, seen.rider_id
        age_ms = town.now_ms - seen.seen_at_ms
        known = len(self._carried.get(rider, ())) + len(self._coming.get(rider, ()))
        held = town.held.get(rider)
        if not seen.available:
            return "off duty"
        if age_ms > town.fresh_ms:
            return f"last fix {age_ms // 1000} s old"
        if rider in town.paused:
            return "paused: left offers unread"
        if seen.active > known or held == "":
            return "carries another order"
        if held is not None and held not in {each.order_id for each in self._asked.get(rider, ())}:
            return "holds another offer"
        return None

    def _row(self, seen: Seen) -> Row:
        """Where and when a rider is free if nothing changes."""
        at = self.map.xy(seen.lat, seen.lng)
        carried = self._carried.get(seen.rider_id, [])
        ahead = [*self._coming.get(seen.rider_id, ()), *self._asked.get(seen.rider_id, ())]
        ahead.sort(key=lambda order: (_far(at, self.map.of(order.pickup)), order.order_id))
        stops = [*((order, True) for order in ahead), *((order, False) for order in ahead)]
        if carried:
            # He cannot be sent anywhere else before he has brought what he has.
            where, when = self._drive(seen, at, [*((each, False) for each in carried), *stops])
            return Row(seen, where, max(SOON, when))
        if not ahead:
            return Row(seen, at, 0.0)
        where, when = self._drive(seen, at, stops)
        is_there = dispatch_of(ahead[0]).state is DispatchState.AT_PICKUP
        way = 0.0 if is_there else self._way(seen, at, self.map.of(ahead[0].pickup))
        return Row(seen, where, max(SOON, when), stops, way)

    def _drive(self, seen: Seen, at: XY, stops: Sequence[tuple[Order, bool]]) -> tuple[XY, float]:
        """Where and when somebody is done with stops."""
        now, rules = 0.0, self.rules
        for order, is_pickup in stops:
            there = self.map.of(order.pickup if is_pickup else order.dropoff)
            if there != at:
                now += self._way(seen, at, there) + rules.before
            if is_pickup:
                now = max(now, self._ready(order))
            at, now = there, now + rules.after
        return at, now

    def _way(self, seen: Seen, start: XY, end: XY) -> float:
        return hypot(start[0] - end[0], start[1] - end[1]) / self._speed(seen)

    def _speed(self, seen: Seen) -> float:
        """Metres a minute, as the crow flies."""
        speeds = self.town.speeds_mps
        mps = speeds.get(seen.vehicle, speeds[None])
        return mps / DETOUR_DEFAULT * MINUTE_MS / 1000 / self.town.pace

    def _ready(self, order: Order) -> float:
        town = self.town
        preps = town.preps.get(order.vendor_id or "", {})
        return town.minutes(ready_at_ms(order, preps, town.now_ms, town.pace))

    def _problem(self, riders: Sequence[Row], orders: Sequence[Order]) -> Problem:
        town = self.town
        placed = {order.order_id: at for at, order in enumerate(orders)}
        seats = {row.seen.rider_id: at for at, row in enumerate(riders)}
        bound = [
            Bound(
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
                if not waves.may_refill(dispatch, rider, town.now_ms, policy):
                    blocked.setdefault(at, []).append(seats[rider])
        open_places = dict.fromkeys(place_of(order) for order in orders)
        usual = sorted(town.demand, key=lambda each: (-town.demand[each], each))[:PLACES_MAX]
        places = {place: at for at, place in enumerate({**open_places, **dict.fromkeys(usual)})}
        return Problem(
            now=0.0,
            riders=self._riders(riders),
            orders=self._orders(orders, places),
            places=self._places(list(places)),
            bound=bound,
            blocked=blocked,
            rules=self.rules,
        )

    def _riders(self, rows: Sequence[Row]) -> Riders:
        town, nobody = self.town, Tally()
        seen = [row.seen for row in rows]
        said = [town.answers.get(each.rider_id, nobody) for each in seen]
        untils = [inf if each.until_ms is None else town.minutes(each.until_ms) for each in seen]
        return Riders(
            x=_floats(row.at[0] for row in rows),
            y=_floats(row.at[1] for row in rows),
            free_at=_floats(row.free_at for row in rows),
            until=_floats(untils),
            speed=_floats(self._speed(each) for each in seen),
            capacity=np.array([each.capacity for each in seen], dtype=np.int64),
            kg=_floats(load_kg(each.vehicle) for each in seen),
            cash=_floats(each.cash_headroom_xaf for each in seen),
            vehicle=np.full(len(rows), ANY_VEHICLE),
            zone=np.full(len(rows), NO_ZONE),
            accepts=_floats(chance_of(each.total, each.weight) for each in said),
            completion=_floats(_or_nan(each.completion) for each in seen),
            rating=_floats(_or_nan(each.rating) for each in seen),
            active=_floats(each.active for each in seen),
        )

    def _orders(self, orders: Sequence[Order], places: Mapping[XY, int]) -> Orders:
        at = [self.map.of(order.dropoff) for order in orders]
        return Orders(
            place=np.array([places[place_of(order)] for order in orders], dtype=np.int64),
            x=_floats(x for x, _ in at),
            y=_floats(y for _, y in at),
            placed=_floats(self.town.minutes(order.created_at) for order in orders),
            ready=_floats(self._ready(order) for order in orders),
            kg=_floats(order.parcel.weight if order.parcel else 0.0 for order in orders),
            cash=_floats(_cash(order) for order in orders),
            vehicles=np.full(len(orders), ANY_VEHICLE),
            zone=np.full(len(orders), NO_ZONE),
            shares=np.array([order.order_type != "FOOD" for order in orders], dtype=np.bool_),
        )

    def _places(self, places: Sequence[XY]) -> Places:
        at = [self.map.xy(*place) for place in places]
        demand = _floats(self.town.demand.get(place, 0.0) for place in places)
        return Places(_floats(x for x, _ in at), _floats(y for _, y in at), demand)


def tableau(town: Town) -> Tableau:
    """The columns of a town."""
    return _Builder(town).build()


def _cash(order: Order) -> float:
    """What a rider will have to collect; what he has said yes to is reserved already."""
    if order.payment.method is not PaymentMethod.CASH or order.rider_id is not None:
        return 0.0
    return float(order.pricing.total)


def _far(one: XY, other: XY) -> float:
    return hypot(one[0] - other[0], one[1] - other[1])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
