"""Cost of connecting sockets and of an open loop of fixes, on this server and on a Node server.

`python -m bench.connect --peer DIR [--sockets 10000] [--rate 0.4]`: the time and the server's CPU
until all sockets have connected with their tokens and half of them watch an order, and the memory
of each; then every rider reports at a fixed rate for a while: CPU, and latency to the watchers. The
peer's folder is as for `bench.relay`.
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

# A rider and its watcher.
_SOCKETS_PER_PAIR = 2


async def measure(folder: Path, builds: PeerBuilds, size: LoadSize) -> dict[str, object]:
    """Measure both servers, one after the other.

    Errors: BenchFailed.
    """
    async with seeded_engines(folder, size.pairs) as engines:
        ours = figures_of(await measure_ours(builds, engines, size, folder / "server"), size)
        peer = figures_of(await measure_peer(builds, engines, size), size)
    ratios = {f"{name}_to_peer": round(ours[name] / peer[name], 3) for name in ours if peer[name]}
    return {"ours": ours, "peer": peer, **ratios}


def figures_of(measured: LoadFigures, size: LoadSize) -> dict[str, float]:
    """The figures of one server. Units: in their names; `cpu` is a share of a core.

    The CPU of connecting is all that was used, less that of the open loop.
    """
    connecting_s = measured["cpu_s"] - measured["cpu"] * size.seconds
    return {
        "connect_s": measured["conn_s"],
        "connect_cpu_ms": round(connecting_s * 1000 / (_SOCKETS_PER_PAIR * size.pairs), 3),
        "kb_per_socket": measured["rss_per_conn_kb"],
        "cpu": measured["cpu"],
        "cpu_us_per_fix": round(measured["cpu"] * 1e6 / measured["relayed/s"], 1),
        "fixes_per_s": measured["relayed/s"],
        "p50_ms": measured["p50"],
        "p99_ms": measured["p99"],
    }


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, help="folder of the peer and its load")
    parser.add_argument("--sockets", type=int, default=2_000, help="10000 is the full size")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of the open loop")
    parser.add_argument("--rate", type=float, default=0.4, help="fixes a second of each rider")
    given = parser.parse_args()
    size = LoadSize(given.sockets // _SOCKETS_PER_PAIR, given.seconds, given.rate)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        builds = PeerBuilds(Path(name) / "builds", given.peer)
        figures = uvloop.run(measure(Path(name), builds, size))
    parameters = {"sockets": given.sockets, "seconds": given.seconds, "rate": given.rate}
    print_result("connect", parameters, figures)


if __name__ == "__main__":
    main()
