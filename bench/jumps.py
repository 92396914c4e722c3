"""Teleport check on real traces: planted jumps that are found, true fixes that are refused.

`python -m bench.jumps --traces DIR [--every 1] [--seed N]`; every trace is the full size. Each fix
of GOAL's traces goes through the server's own checks, once as it was, and once with every ninth of
them displaced. No server runs; `tests/e2e/test_gps_traces.py` does the same through a server.
"""

import argparse
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.common.result_line import print_result
from bench.common.traces import TracePoint, read_traces
from dispatch.model import Position
from dispatch.tracking.checks import check_fix, to_doubtful_fix
from dispatch.tracking.fixes.device_clock import DeviceClock
from dispatch.tracking.fixes.model import AcceptedFix, Drop
from dispatch.tracking.fixes.vehicle_speeds import speed_max_mps
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M

# Source: bench/README.md. A shorter jump cannot be told from a van's drive between two fixes.
FLAGGED_MIN, FALSE_FLAGS_MAX = 0.99, 0.005
GOAL_FROM_M = 1_000.0
JUMPS_M = (500.0, 1_000.0, 3_000.0, 20_000.0)
JUMP_EVERY, FIRST_JUMP = 9, 4
# The agents of these traces drive vans; the accuracy is drawn from this range. Units: metres.
VEHICLE, ACCURACY_M = "CAR", (4.0, 15.0)
LAT, LNG, BEGIN_MS = 4.05, 9.7, 1_763_000_000_000


class TraceHistory:
    """The state of one rider that the checks need, fix by fix."""

    def __init__(self) -> None:
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = speed_max_mps(VEHICLE)
        self.clock = DeviceClock()

    def check(self, fix: Fix) -> Drop | None:
        """Check a fix as the server does; the reason why it is dropped, or None."""
        assert fix.ts is not None
        now_ms = int(fix.ts)
        checked = check_fix(self, fix, now_ms)
        if isinstance(checked, Drop):
            if checked is Drop.TELEPORT:
                self.doubtful_fix = to_doubtful_fix(self, fix, now_ms)
            return checked
        self.last_fix, self.doubtful_fix = checked, None
        return None


def fixes_of(trace: Sequence[TracePoint], rng: random.Random) -> list[Fix]:
    """The fixes of a trace, moved to Douala. Units: metres in, degrees out."""
    east_m = DEGREE_M * math.cos(math.radians(LAT))
    return [
        Fix(
            lat=LAT + step.y_m / DEGREE_M,
            lng=LNG + step.x_m / east_m,
            ts=BEGIN_MS + round((step.at_s - trace[0].at_s) * 1000),
            accuracy=rng.uniform(*ACCURACY_M),
        )
        for step in trace
    ]


def check_true_fixes(traces: Iterable[Sequence[Fix]]) -> Counter[Drop | None]:
    """Count the results for true fixes; the first of each trace is left out."""
    results = Counter[Drop | None]()
    for fixes in traces:
        history = TraceHistory()
        history.check(fixes[0])
        results.update(history.check(fix) for fix in fixes[1:])
    return results


def check_planted_jumps(
    traces: Iterable[Sequence[Fix]], jump_m: float, rng: random.Random
) -> tuple[Counter[Drop | None], Counter[Drop | None]]:
    """Count the results for planted jumps, and for the true fixes between them. Units: metres."""
    of_jumps, of_others = Counter[Drop | None](), Counter[Drop | None]()
    for fixes in traces:
        history = TraceHistory()
        history.check(fixes[0])
        for at, fix in enumerate(fixes[1:], 1):
            is_jump = at % JUMP_EVERY == FIRST_JUMP
            sent = _displaced(fix, jump_m, rng) if is_jump else fix
            (of_jumps if is_jump else of_others)[history.check(sent)] += 1
    return of_jumps, of_others


def _displaced(fix: Fix, metres: float, rng: random.Random) -> Fix:
    bearing = rng.uniform(0, math.tau)
    return Fix(
        lat=fix.lat + metres * math.cos(bearing) / DEGREE_M,
        lng=fix.lng + metres * math.sin(bearing) / DEGREE_M,
        ts=fix.ts,
        accuracy=fix.accuracy,
    )


def measure(folder: Path, every: int, seed: int) -> dict[str, Any]:
    """The shares of refused fixes, for true fixes and for jumps by distance."""
    rng = random.Random(seed)
    traces = [trace for trace in read_traces(folder) if len(trace) > 1][::every]
    drives = [fixes_of(trace, rng) for trace in traces]
    results = check_true_fixes(drives)
    figures: dict[str, Any] = {
        "traces": len(drives),
        "true_fixes": results.total(),
        "false_flags": _teleport_share(results),
        "other_drops": results.total() - results[None] - results[Drop.TELEPORT],
    }
    for jump_m in JUMPS_M:
        of_jumps, of_others = check_planted_jumps(drives, jump_m, rng)
        figures[f"planted_{jump_m:.0f}_m"] = of_jumps.total()
        figures[f"flagged_{jump_m:.0f}_m"] = _teleport_share(of_jumps)
        figures[f"false_flags_beside_{jump_m:.0f}_m"] = _teleport_share(of_others)
    return figures


def _teleport_share(drops: Counter[Drop | None]) -> float:
    return round(drops[Drop.TELEPORT] / drops.total(), 5)


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promised shares were held."""
    promised = [jump_m for jump_m in JUMPS_M if jump_m >= GOAL_FROM_M]
    false = [figures["false_flags"], *(figures[f"false_flags_beside_{m:.0f}_m"] for m in promised)]
    return max(false) <= FALSE_FLAGS_MAX and all(
        figures[f"flagged_{jump_m:.0f}_m"] >= FLAGGED_MIN for jump_m in promised
    )


def main() -> None:
    """Measure and print the line; exit 1 where a promised share is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of GOAL's archive")
    parser.add_argument("--every", type=int, default=1, help="only every n-th trace")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    figures = measure(given.traces, given.every, given.seed)
    result = "goal" if is_good(figures) else "missed"
    print_result("jumps", {"every": given.every, "seed": given.seed}, {**figures, "result": result})
    raise SystemExit(result == "missed")


if __name__ == "__main__":
    main()
