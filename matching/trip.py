"""A trip: goods picked up and brought, stop after stop, without a wait once it has begun."""

from collections.abc import Sequence

from matching.problem import Problem, Stop
from matching.travel_times import Ways

# An order that is lost already still wants to arrive; one minute of it counts this much.
# Source: own choice, far below any order that can still be saved.
LOST_WEIGHT = 0.02


class Trip:
    """Stops at fixed distances in time from the first one, which is at `starts_at >= ready`.

    `ready` is the first moment at which nobody has to wait at a later pickup either: goods wait in
    the shop and not on the way. Units: minutes.
    """

    __slots__ = (
        "_cap",
        "_due",
        "cash",
        "count",
        "drops",
        "kg",
        "last",
        "last_pickup",
        "place",
        "places",
        "ready",
        "shares",
        "shift",
        "soon",
        "stops",
        "takes",
        "ways",
    )

    def __init__(self, problem: Problem, ways: Ways, stops: Sequence[Stop]) -> None:
        rules, sheet = problem.rules, ways.sheet
        self.ways = ways
        self.stops = tuple(stops)
        self.drops = [stop.order for stop in stops if not stop.is_pickup]
        self.count = len(self.drops)
        self.place = sheet.place[stops[0].order] if stops[0].is_pickup else -1
        self.places = {sheet.place[stop.order] for stop in stops if stop.is_pickup}
        self.shares = all(sheet.shares[order] for order in self.drops)
        self.kg = sum(sheet.kg[order] for order in self.drops)
        self.cash = sum(sheet.cash[order] for order in self.drops)
        self.last = self.drops[-1]
        self.ready = self.last_pickup = 0.0
        self._cap = rules.late_cap
        # Of every drop-off: how long after the first stop, less when the order was placed.
        self._due: list[float] = []
        floors, at, before = 0.0, 0.0, None
        for stop in stops:
            if before is not None and not _same_place(sheet.place, before, stop):
                at += rules.after + _way(ways, before, stop) + rules.before
            if stop.is_pickup:
                self.ready = max(self.ready, sheet.ready[stop.order] - at)
                self.last_pickup = at
            else:
                self._due.append(at - sheet.placed[stop.order])
                floors += floor_of(problem, ways, stop.order)
            before = stop
        self.takes = at + rules.after
        self.shift = sum(self._due) - floors
        self.soon = min(self._cap - due for due in self._due)

    def delay(self, starts_at: float) -> float:
        """How much later than at best its orders arrive, together, if it starts then."""
        if starts_at <= self.soon:
            return self.count * starts_at + self.shift
        lost = sum(max(0.0, starts_at + due - self._cap) for due in self._due)
        return self.count * starts_at + self.shift - lost * (1 - LOST_WEIGHT)


def floor_of(problem: Problem, ways: Ways, order: int) -> float:
    """From placing to the door if a rider stands ready at the shop. Units: minutes."""
    sheet, rules = ways.sheet, problem.rules
    wait = sheet.ready[order] - sheet.placed[order]
    return wait + rules.after + ways.own[order] + rules.before


def single(problem: Problem, ways: Ways, order: int) -> Trip:
    """One order on its own."""
    return Trip(problem, ways, (Stop(order, is_pickup=True), Stop(order, is_pickup=False)))


def _same_place(place: Sequence[int], one: Stop, other: Stop) -> bool:
    return one.is_pickup and other.is_pickup and place[one.order] == place[other.order]


def _way(ways: Ways, start: Stop, end: Stop) -> float:
    place = ways.sheet.place
    if start.is_pickup and end.is_pickup:
        return ways.from_place(place[start.order])[place[end.order]]
    if start.is_pickup:
        return ways.drop_from(place[start.order], end.order)
    if end.is_pickup:
        return ways.back[start.order][place[end.order]]
    return ways.between_drops(start.order, end.order)
