"""Writes a run's decisions as solution files of mdrplib, so that its evaluator can score them.

Source: mdrplib's evaluator reads `solution_info_assignments.txt`, `..._orders.txt` and
`..._couriers.txt`: columns separated by spaces, after a header line.
"""

from pathlib import Path

from bench.mdrp.instances import ExecutedTrip, Instance
from bench.mdrp.run_audit import AuditedDay, reconstruct_day


def write_solution(folder: Path, instance: Instance, trips: list[ExecutedTrip]) -> None:
    """Write the three solution files of one run.

    Errors: RuleViolation where the run breaks a rule.
    """
    day = reconstruct_day(instance, trips)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "assignments": _assignments(instance, trips),
        "orders": _orders(instance, day),
        "couriers": _couriers(instance, day),
    }
    for name, lines in files.items():
        (folder / f"solution_info_{name}.txt").write_text("\n".join(lines) + "\n")


def _assignments(instance: Instance, trips: list[ExecutedTrip]) -> list[str]:
    lines = ["assignment_time pickup_time courier bundle"]
    for trip in sorted(trips, key=lambda trip: (trip.fixed_at, trip.courier)):
        bundle = " ".join(instance.orders[row].name for row in trip.orders)
        courier = instance.couriers[trip.courier].name
        lines.append(f"{trip.fixed_at} {trip.picked_at} {courier} {bundle}")
    return lines


def _orders(instance: Instance, day: AuditedDay) -> list[str]:
    lines = ["order placement_time restaurant ready_time pickup_time dropoff_time courier"]
    for row, order in enumerate(instance.orders):
        if row not in day.dropped_at:
            continue
        restaurant = instance.restaurants[order.place].name
        courier = instance.couriers[day.courier_of[row]].name
        lines.append(
            f"{order.name} {order.placed} {restaurant} {order.ready} "
            f"{day.picked_at[row]} {day.dropped_at[row]} {courier}"
        )
    return lines


def _couriers(instance: Instance, day: AuditedDay) -> list[str]:
    lines = ["courier departure_time origin destination"]
    for move in sorted(day.moves, key=lambda move: move.courier):
        courier = instance.couriers[move.courier].name
        start = "0" if move.start == courier else move.start
        lines.append(f"{courier} {move.left_at} {start} {move.end}")
    return lines
