"""Keep-alive test: `python -m tests.e2e.keep_alive --requests 100000`.

Thousands of connections send one request after the other, with gaps from 0 to 70 s between them, as
balancers do with the connections that they pool. Not one may be lost. Prints one JSON line; exit 1
if one is.
"""

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench.common.harness import quantile
from bench.common.result_line import print_result
from tests.e2e.fleet import fleet

# Units: seconds. Source: chosen; most gaps around what cut connections before (8 s) and what
# balancers wait at most (60 s).
GAPS_S = (
    0.0,
    0.0,
    0.001,
    0.05,
    0.3,
    1.0,
    1.0,
    2.0,
    5.0,
    7.9,
    8.1,
    9.0,
    10.0,
    15.0,
    30.0,
    59.0,
    70.0,
)
ANSWER_S_MAX = 20.0
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(slots=True)
class Result:
    """What happened to the requests of all connections."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    answer_s: list[float] = field(default_factory=list)
    # Longest gap after which a request was answered.
    longest_gap_s: float = 0.0


async def _send_requests(port: int, gaps_s: list[float], result: Result) -> None:
    """Send a request after each gap over one connection; stop at the first that is lost."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for gap_s in gaps_s:
        await asyncio.sleep(gap_s)
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                writer.write(_REQUEST)
                await reader.readuntil(b'{"success":true,"data":{"status":"alive"}}')
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            result.lost.append(f"after {gap_s:g} s: {type(error).__name__}")
            break
        result.answered += 1
        result.answer_s.append(time.perf_counter() - began_s)
        result.longest_gap_s = max(result.longest_gap_s, gap_s)
    writer.transport.abort()


def draw_gaps_s(
    rng: random.Random, requests: int, connections: int, gap_s_max: float
) -> list[list[float]]:
    """The gaps of each connection, the first at most a second; units: seconds."""
    allowed = [gap_s for gap_s in GAPS_S if gap_s <= gap_s_max]
    each = max(1, requests // connections)
    return [[rng.random(), *rng.choices(allowed, k=each - 1)] for _ in range(connections)]


async def measure(gaps_s: list[list[float]], folder: Path) -> dict[str, Any]:
    """Send requests over one connection for each list of gaps."""
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        port, result = int(node.site.url.rpartition(":")[2]), Result()
        await asyncio.gather(*(_send_requests(port, each, result) for each in gaps_s))
        return {
            "connections": len(gaps_s),
            "answered": result.answered,
            "lost": len(result.lost),
            "first_lost": result.lost[:3],
            "longest_gap_s": result.longest_gap_s,
            "answer_p99_ms": round(quantile(result.answer_s, 0.99) * 1000, 1),
            "faults": len(node.log_faults),
        }


def is_good(figures: dict[str, Any]) -> bool:
    """Whether every request was answered."""
    return figures["answered"] > 0 and not figures["lost"] and not figures["faults"]


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="100000 is full")
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--gap", type=float, default=70.0, help="the longest gap, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    gaps_s = draw_gaps_s(rng, options.requests, options.connections, options.gap)
    with tempfile.TemporaryDirectory(prefix="reeyo-keep-alive-") as folder:
        figures = uvloop.run(measure(gaps_s, Path(folder)))
    verdict = "kept" if is_good(figures) else "broken"
    print_result("keep_alive", vars(options), {**figures, "promise": verdict})
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
