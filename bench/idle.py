"""Sockets that connect and say nothing: what each costs, ours beside a Node server's.

`python -m bench.idle --peer DIR [--sockets 10000]`: the time until all have connected with their
tokens and half of them watch an order, the memory of each, and the CPU they take while only the
heartbeat is heard. The peer's folder is as for `bench.relay`.
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

# Fixes a second of each rider: none within the run.
NO_FIXES_PER_S = 1e-6


async def measure(folder: Path, builds: PeerBuilds, size: LoadSize) -> dict[str, object]:
    """Both, one after the other."""
    async with seeded_engines(folder, size.pairs) as engines:
        our = await measure_ours(builds, engines, size, folder / "server")
        their = await measure_peer(builds, engines, size)
    return {
        **_figures("ours", our),
        **_figures("peer", their),
        "connect_to_peer": round(our["conn_s"] / their["conn_s"], 3),
        "memory_to_peer": round(our["rss_per_conn_kb"] / their["rss_per_conn_kb"], 3),
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
    parser.add_argument("--seconds", type=float, default=20.0, help="of silence")
    given = parser.parse_args()
    size = LoadSize(given.sockets // 2, given.seconds, NO_FIXES_PER_S)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yard = PeerBuilds(Path(name) / "yard", given.peer)
        figures = uvloop.run(measure(Path(name), yard, size))
    print_result("idle", {"sockets": given.sockets, "seconds": given.seconds}, figures)


if __name__ == "__main__":
    main()
