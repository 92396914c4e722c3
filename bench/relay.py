"""Cost of relaying fixes from riders to watchers: this server, a Node server and a bare C relay.

`python -m bench.relay --peer DIR [--pairs 500] [--rate 0.4] [--rounds 2]`. DIR holds the peer's
`server.js`, `limit.c` and the load `relay_load.c`; they are built in a temporary folder, with gcc
and npm.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench.common.peers import (
    LoadFigures,
    LoadSize,
    PeerBuilds,
    measure_limit,
    measure_ours,
    measure_peer,
    seeded_engines,
)
from bench.common.result_line import print_result


async def measure(
    folder: Path, builds: PeerBuilds, size: LoadSize, rounds: int
) -> dict[str, object]:
    """Measure all three, in turns.

    Errors: BenchFailed.
    """
    async with seeded_engines(folder, size.pairs) as engines:
        found = [
            {
                "ours": await measure_ours(builds, engines, size, folder / str(number)),
                "peer": await measure_peer(builds, engines, size),
                "limit": await measure_limit(builds, size),
            }
            for number in range(rounds)
        ]
    return figures_of(found)


def figures_of(rounds: Sequence[dict[str, LoadFigures]]) -> dict[str, Any]:
    """The cheapest round of each server, because other work on the machine only adds.

    Units: microseconds of CPU a fix; ratios of this server to the others.
    """
    best = {who: min((each[who] for each in rounds), key=_cost_us) for who in rounds[0]}
    cost = {who: _cost_us(found) for who, found in best.items()}
    figures: dict[str, Any] = {
        who: {"cpu_us_per_fix": round(cost[who], 1), **found} for who, found in best.items()
    }
    figures["to_peer"] = round(cost["ours"] / cost["peer"], 3)
    figures["to_limit"] = round(cost["ours"] / cost["limit"], 3)
    return figures


def _cost_us(measured: LoadFigures) -> float:
    return measured.get("us_per_relay") or measured["cpu"] * 1e6 / measured["relayed/s"]


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer and its load")
    parser.add_argument("--pairs", type=int, default=500, help="riders, each with a watcher")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="fixes a second of each rider; 0: closed loop"
    )
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    size = LoadSize(given.pairs, given.seconds, given.rate)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        builds = PeerBuilds(Path(name) / "builds", given.peer)
        figures = uvloop.run(measure(Path(name), builds, size, given.rounds))
    print_result("relay", {**size._asdict(), "rounds": given.rounds}, figures)


if __name__ == "__main__":
    main()
