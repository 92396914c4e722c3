"""A trip: a sequence of pickups and drop-offs, driven without waiting once it has begun."""

from collections.abc import Sequence

from matching.problem import Problem, Stop
from matching.travel_times import TravelTimes

# Weight of one more minute for an order that counts as lost already, so that it is still delivered.
# Source: chosen; far below any order that can still be on time.
LOST_WEIGHT = 0.02


class Trip:
    """Stops at fixed time offsets from the first one, which happens at `starts_at >= ready_at`.

    `ready_at` is the earliest start at which the rider waits at no later pickup either: goods wait
    at the shop and not on the way. Units: minutes, kilograms, XAF.
    """

    __slots__ = (
        "_drop_offsets",
        "_lost_after",
        "cash",
        "count",
        "delay_offset",
        "drops",
        "duration",
        "kg",
        "last_drop",
        "last_pickup",
        "latest_start_on_time",
        "may_share",
        "place",
        "places",
        "ready_at",
        "stops",
        "travel_times",
    )

    def __init__(self, problem: Problem, travel_times: TravelTimes, stops: Sequence[Stop]) -> None:
        rules, orders = problem.rules, travel_times.order_lists
        self.travel_times = travel_times
        self.stops = tuple(stops)
        self.drops = [stop.order for stop in stops if not stop.is_pickup]
        self.count = len(self.drops)
        self.place = orders.place[stops[0].order] if stops[0].is_pickup else -1
        self.places = {orders.place[stop.order] for stop in stops if stop.is_pickup}
        self.may_share = all(orders.may_share[order] for order in self.drops)
        self.kg = sum(orders.kg[order] for order in self.drops)
        self.cash = sum(orders.cash[order] for order in self.drops)
        self.last_drop = self.drops[-1]
        self.ready_at = self.last_pickup = 0.0
        self._lost_after = rules.lost_after
        # For every drop-off: its offset from the first stop, less when the order was placed.
        self._drop_offsets: list[float] = []
        fastest, offset, before = 0.0, 0.0, None
        for stop in stops:
            if before is not None and not _is_same_place(orders.place, before, stop):
                offset += (
                    rules.after_handover
                    + _travel_between(travel_times, before, stop)
                    + rules.before_handover
                )
            if stop.is_pickup:
                self.ready_at = max(self.ready_at, orders.ready[stop.order] - offset)
                self.last_pickup = offset
            else:
                self._drop_offsets.append(offset - orders.placed[stop.order])
                fastest += fastest_delivery_minutes(problem, travel_times, stop.order)
            before = stop
        self.duration = offset + rules.after_handover
        self.delay_offset = sum(self._drop_offsets) - fastest
        self.latest_start_on_time = min(self._lost_after - due for due in self._drop_offsets)

    def delay(self, starts_at: float) -> float:
        """Total delay of its orders over their fastest delivery, if it starts then.

        Units: minutes.
        """
        if starts_at <= self.latest_start_on_time:
            return self.count * starts_at + self.delay_offset
        lost = sum(max(0.0, starts_at + due - self._lost_after) for due in self._drop_offsets)
        return self.count * starts_at + self.delay_offset - lost * (1 - LOST_WEIGHT)


def fastest_delivery_minutes(problem: Problem, travel_times: TravelTimes, order: int) -> float:
    """From placing to the door if a rider stands ready at the shop. Units: minutes."""
    orders, rules = travel_times.order_lists, problem.rules
    wait = orders.ready[order] - orders.placed[order]
    return wait + rules.after_handover + travel_times.place_to_drop[order] + rules.before_handover


def single_order_trip(problem: Problem, travel_times: TravelTimes, order: int) -> Trip:
    """The trip of one order alone."""
    return Trip(problem, travel_times, (Stop(order, is_pickup=True), Stop(order, is_pickup=False)))


def _is_same_place(place: Sequence[int], one: Stop, other: Stop) -> bool:
    return one.is_pickup and other.is_pickup and place[one.order] == place[other.order]


def _travel_between(travel_times: TravelTimes, start: Stop, end: Stop) -> float:
    place = travel_times.order_lists.place
    if start.is_pickup and end.is_pickup:
        return travel_times.from_place(place[start.order])[place[end.order]]
    if start.is_pickup:
        return travel_times.to_drop(place[start.order], end.order)
    if end.is_pickup:
        return travel_times.drop_to_places[start.order][place[end.order]]
    return travel_times.between_drops(start.order, end.order)
