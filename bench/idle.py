"""Cost of idle sockets: connect time, memory and CPU, on this server and on a Node server.

`python -m bench.idle --peer DIR [--sockets 10000]`: the time until all sockets have connected with
their tokens and half of them watch an order, the memory of each, and the CPU while only heartbeats
are sent. The peer's folder is as for `bench.relay`.
"""

import argparse
import tempfile
from pathlib import Path

import uvloop

from bench.common.peers import (
    LoadFigures,
    LoadSize,
    PeerBuilds,
    measure_ours,
    measure_peer,
    seeded_engines,
)
from bench.common.result_line import print_result

# Fixes a second of each rider, so low that none is sent within the run.
NO_FIXES_PER_S = 1e-6


async def measure(folder: Path, builds: PeerBuilds, size: LoadSize) -> dict[str, object]:
    """Measure both servers, one after the other.

    Errors: BenchFailed.
    """
    async with seeded_engines(folder, size.pairs) as engines:
        ours = await measure_ours(builds, engines, size, folder / "server")
        peer = await measure_peer(builds, engines, size)
    return figures_of(ours, peer)


def figures_of(ours: LoadFigures, peer: LoadFigures) -> dict[str, object]:
    """The figures of both servers, and this server's as multiples of the peer's.

    Units: in their names; `idle_cpu` is a share of a core.
    """
    return {
        **_figures("ours", ours),
        **_figures("peer", peer),
        "connect_to_peer": round(ours["conn_s"] / peer["conn_s"], 3),
        "memory_to_peer": round(ours["rss_per_conn_kb"] / peer["rss_per_conn_kb"], 3),
    }


def _figures(name: str, measured: LoadFigures) -> dict[str, object]:
    return {
        f"{name}_connect_s": measured["conn_s"],
        f"{name}_kb_per_socket": measured["rss_per_conn_kb"],
        f"{name}_idle_cpu": measured["cpu"],
    }


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer and its load")
    parser.add_argument("--sockets", type=int, default=2_000, help="10000 is the full size")
    parser.add_argument("--seconds", type=float, default=20.0, help="idle time that is measured")
    given = parser.parse_args()
    size = LoadSize(given.sockets // 2, given.seconds, NO_FIXES_PER_S)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        builds = PeerBuilds(Path(name) / "builds", given.peer)
        figures = uvloop.run(measure(Path(name), builds, size))
    print_result("idle", {"sockets": given.sockets, "seconds": given.seconds}, figures)


if __name__ == "__main__":
    main()
