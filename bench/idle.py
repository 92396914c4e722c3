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
    Found,
    Size,
    Yard,
    ours,
    peer,
    seeded_engines,
)
from bench.common.result_line import print_line

# Fixes a second of each rider: none within the run.
SILENT = 1e-6


async def measure(folder: Path, yard: Yard, size: Size) -> dict[str, object]:
    """Both, one after the other."""
    async with seeded_engines(folder, size.pairs) as engines:
        our = await ours(yard, engines, size, folder / "server")
        their = await peer(yard, engines, size)
    return {
        **_named("ours", our),
        **_named("peer", their),
        "connect_to_peer": round(our["conn_s"] / their["conn_s"], 3),
        "memory_to_peer": round(our["rss_per_conn_kb"] / their["rss_per_conn_kb"], 3),
    }


def _named(who: str, found: Found) -> dict[str, object]:
    return {
        f"{who}_connect_s": found["conn_s"],
        f"{who}_kb_per_socket": found["rss_per_conn_kb"],
        f"{who}_idle_cpu": found["cpu"],
    }


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer and its load")
    parser.add_argument("--sockets", type=int, default=2_000, help="10000 is the full size")
    parser.add_argument("--seconds", type=float, default=20.0, help="of silence")
    given = parser.parse_args()
    size = Size(given.sockets // 2, given.seconds, SILENT)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yard = Yard(Path(name) / "yard", given.peer)
        figures = uvloop.run(measure(Path(name), yard, size))
    print_line("idle", {"sockets": given.sockets, "seconds": given.seconds}, figures)


if __name__ == "__main__":
    main()
