"""False positions on real traces: how many of those planted are found, how many true ones are lost.

`python -m bench.jumps --traces DIR [--every 1] [--seed N]`; every trace is the full size. Each fix
of GOAL's traces goes through the product's own steps, once as it was, once with every ninth of them
so far away. Nothing is served; `tests/e2e/test_gps_traces.py` does the same through a server.
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
from dispatch.tracking.checks import (
    AcceptedFix,
    Drop,
    check_fix,
    speed_max_mps,
    to_doubtful_fix,
)
from dispatch.tracking.route_leg import DEGREE_M
from dispatch.wire.commands import Fix

# Source: promises. A jump of less than what a van drives between two fixes cannot be told from it.
FLAGGED_MIN, FALSE_FLAGS_MAX = 0.99, 0.005
GOAL_FROM_M = 1_000.0
JUMPS_M = (500.0, 1_000.0, 3_000.0, 20_000.0)
JUMP_EVERY, FIRST_JUMP = 9, 4
# What agents of these traces drive, and what their phones admit. Units: metres.
VEHICLE, ACCURACY_M = "CAR", (4.0, 15.0)
LAT, LNG, BEGIN_MS = 4.05, 9.7, 1_763_000_000_000


class TraceHistory:
    """What is known of a rider, fix by fix."""

    def __init__(self) -> None:
        self.last_fix: AcceptedFix | None = None
        self.doubtful_fix: AcceptedFix | None = None
        self.trail_anchor: Position | None = None
        self.speed_max_mps = speed_max_mps(VEHICLE)

    def check(self, fix: Fix) -> Drop | None:
        """As a rider's fix is taken in: why it was not, or None."""
        assert fix.ts is not None
        now_ms = int(fix.ts)
        verdict = check_fix(self, fix, now_ms)
        if isinstance(verdict, Drop):
            if verdict is Drop.TELEPORT:
                self.doubtful_fix = to_doubtful_fix(self, fix, now_ms)
            return verdict
        self.last_fix, self.doubtful_fix = verdict, None
        return None


def fixes_of(trace: Sequence[TracePoint], rng: random.Random) -> list[Fix]:
    """A trace set down in Douala, as a phone would tell it."""
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
    """What is said of true fixes, the first of each trace left out."""
    words = Counter[Drop | None]()
    for fixes in traces:
        way = TraceHistory()
        way.check(fixes[0])
        words.update(way.check(fix) for fix in fixes[1:])
    return words


def check_planted_jumps(
    traces: Iterable[Sequence[Fix]], jump_m: float, rng: random.Random
) -> tuple[Counter[Drop | None], Counter[Drop | None]]:
    """What is said of jumps, and of the true fixes between them."""
    of_jumps, of_others = Counter[Drop | None](), Counter[Drop | None]()
    for fixes in traces:
        way = TraceHistory()
        way.check(fixes[0])
        for at, fix in enumerate(fixes[1:], 1):
            is_jump = at % JUMP_EVERY == FIRST_JUMP
            said = _displaced(fix, jump_m, rng) if is_jump else fix
            (of_jumps if is_jump else of_others)[way.check(said)] += 1
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
    """All shares, of true fixes and of jumps by how far they are."""
    rng = random.Random(seed)
    traces = [trace for trace in read_traces(folder) if len(trace) > 1][::every]
    ways = [fixes_of(trace, rng) for trace in traces]
    words = check_true_fixes(ways)
    figures: dict[str, Any] = {
        "traces": len(ways),
        "true_fixes": words.total(),
        "false_flags": _teleport_share(words),
        "other_drops": words.total() - words[None] - words[Drop.TELEPORT],
    }
    for jump_m in JUMPS_M:
        of_jumps, of_others = check_planted_jumps(ways, jump_m, rng)
        figures[f"planted_{jump_m:.0f}_m"] = of_jumps.total()
        figures[f"flagged_{jump_m:.0f}_m"] = _teleport_share(of_jumps)
        figures[f"false_flags_beside_{jump_m:.0f}_m"] = _teleport_share(of_others)
    return figures


def _teleport_share(drops: Counter[Drop | None]) -> float:
    return round(drops[Drop.TELEPORT] / drops.total(), 5)


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises were kept."""
    promised = [jump_m for jump_m in JUMPS_M if jump_m >= GOAL_FROM_M]
    false = [figures["false_flags"], *(figures[f"false_flags_beside_{m:.0f}_m"] for m in promised)]
    return max(false) <= FALSE_FLAGS_MAX and all(
        figures[f"flagged_{jump_m:.0f}_m"] >= FLAGGED_MIN for jump_m in promised
    )


def main() -> None:
    """Measure and print the line; exit 1 where a promise is broken."""
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
