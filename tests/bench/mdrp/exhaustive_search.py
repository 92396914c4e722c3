"""The best possible day of a tiny instance, found by trying every sequence of trips."""

from itertools import permutations

from bench.mdrp import instances
from bench.mdrp.instances import ExecutedTrip, Instance
from bench.mdrp.run_audit import reconstruct_day, score_run


def best_possible_delay(tiny: Instance) -> float:
    """The least E, with all orders known in advance: every assignment, sequence and bundle."""
    separators = (-1, -2, -3, -4, -5)
    found = []
    for row in {tuple(row) for row in permutations([0, 1, 2, 3, *separators], 6)}:
        trips = _to_trips(tiny, row)
        if trips is not None:
            found.append(score_run(tiny, trips).E)
    return min(found)


def _to_trips(tiny: Instance, row: tuple[int, ...]) -> list[ExecutedTrip] | None:
    """A row as trips: -1 begins the second courier's, any other separator ends a bundle."""
    if sum(each >= 0 for each in row) < 4:
        return None
    at = [(c.x, c.y) for c in tiny.couriers]
    free_at = [c.on_time for c in tiny.couriers]
    trips: list[ExecutedTrip] = []
    courier, bundle = 0, []
    for each in [*row, -2]:
        if each >= 0:
            bundle.append(each)
            continue
        if bundle:
            places = {tiny.orders[o].place for o in bundle}
            if len(places) > 1:
                return None
            shop = tiny.restaurants[places.pop()]
            placed = max(tiny.orders[o].placed for o in bundle)
            sent_at = max(free_at[courier], placed)
            arrives_at = sent_at + instances.travel_minutes(tiny, at[courier], (shop.x, shop.y))
            picked_at = max(arrives_at + 2, *(tiny.orders[o].ready for o in bundle))
            if picked_at > tiny.couriers[courier].off_time:
                return None
            trips.append(ExecutedTrip(courier, sent_at, sent_at, picked_at, tuple(bundle)))
            day = reconstruct_day(tiny, trips)
            last = tiny.orders[bundle[-1]]
            free_at[courier], at[courier] = day.dropped_at[bundle[-1]] + 2, (last.x, last.y)
            bundle = []
        if each == -1:
            courier = 1
    return trips
