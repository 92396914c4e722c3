"""Anonymous flood test: `python -m tests.e2e.anonymous --seconds 14`.

Forty connections send every anonymous route and every malformed input as fast as they are answered,
while sockets and HTTP clients with tokens measure how long their own requests take. These are
compared with those during no flood, and during the same flood into a local sink, because on two
cores the attacker's process takes one of them. Prints one JSON line; exit 1 where others are hurt.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import uvloop

from bench.common.client import SocketClient
from bench.common.harness import REQUEST_TIMEOUT_S, BenchFailed, RunningServer, quantile
from bench.common.result_line import print_result
from tests.e2e.anonymous_attacker import INPUTS
from tests.e2e.fleet import fleet
from tests.e2e.flood import FIX, AttackerProcess, start_attacker

# Source: docs/promises.md.
P99_MS_MAX = 100.0
QUIET_RATIO_MAX = 2.0
SOCKETS, HTTP_CLIENTS = 20, 20
SOCKET_EVERY_S, HTTP_EVERY_S = 0.1, 0.25
# Lines about cut sockets and the like: one a second, and ten at once.
LOG_LINES_PER_S, LOG_LINES_BURST = 1.0, 10.0
# Figures of the attacker's process that are added up.
COUNTS = ("sent", "unanswered", "failed")


# Phases of a kind; the median counts, because in a single one some answer may be late by chance.
ROUNDS = 7


class Size(NamedTuple):
    """Length of a phase, pairs of phases for each group, and groups. Units: seconds."""

    seconds: float
    rounds: int = ROUNDS
    groups: tuple[str, ...] = tuple(INPUTS)


class Others:
    """The other clients: riders' sockets and HTTP clients, whose answers are timed."""

    def __init__(self, site: RunningServer, http: aiohttp.ClientSession) -> None:
        self.site = site
        self._http = http
        self._sockets: list[SocketClient] = []
        # Units: seconds.
        self.socket_s: list[float] = []
        self.http_s: list[float] = []

    async def connect(self) -> None:
        """Open the sockets."""
        for number in range(SOCKETS):
            identity = ("RIDER", f"rdr_{number}")
            self._sockets.append(await self.site.connect(identity, lambda _n, _b, _s: None))

    def close(self) -> None:
        """Close the sockets."""
        for client in self._sockets:
            client.close()

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """Send requests during the block. Errors: BenchFailed where one was not answered."""
        self.socket_s, self.http_s = [], []
        jobs = [self._call(client) for client in self._sockets]
        jobs += [self._ask(number) for number in range(HTTP_CLIENTS)]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            yield
            # A short phase on a busy machine may end before the first answer.
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                while not (self.socket_s and self.http_s):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            failed = [task.exception() for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if failed:
            raise BenchFailed(f"others were not answered: {failed}")

    async def _call(self, client: SocketClient) -> None:
        while True:
            began_s = time.perf_counter()
            await client.call("location_update", FIX)
            self.socket_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(SOCKET_EVERY_S)

    async def _ask(self, number: int) -> None:
        token = self.site.signer.sign("RIDER", f"rdr_http_{number}")
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            began_s = time.perf_counter()
            url = f"{self.site.url}/api/v1/rider/profile"
            async with self._http.get(url, headers=headers) as response:
                await response.read()
                if response.status not in (200, 429):
                    raise BenchFailed(f"an HTTP client got {response.status}")
            self.http_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(HTTP_EVERY_S)

    def p99_ms(self) -> tuple[float, float]:
        """99th percentiles of the last block: sockets, HTTP. Units: milliseconds."""
        return quantile(self.socket_s, 0.99) * 1000, quantile(self.http_s, 0.99) * 1000


class Phases:
    """What was measured in the phases of one kind: others' answers, and the server's CPU."""

    def __init__(self, others: Others) -> None:
        self._others = others
        self._p99_ms: list[tuple[float, float]] = []
        self._cpu_share: list[float] = []

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """Measure one phase. Errors: BenchFailed where one of the others was not answered."""
        began_s, cpu_s = time.perf_counter(), self._others.site.cpu_s()
        async with self._others.measuring():
            yield
        used_s = self._others.site.cpu_s() - cpu_s
        self._cpu_share.append(used_s / (time.perf_counter() - began_s))
        self._p99_ms.append(self._others.p99_ms())

    @property
    def p99_ms(self) -> list[float]:
        """For each phase the worse of sockets and HTTP."""
        return [max(each) for each in self._p99_ms]

    @property
    def cpu_share(self) -> float:
        """CPU of the server as a share of one core, by the median of the phases."""
        return round(quantile(self._cpu_share, 0.5), 2)


async def _compare(
    attacker: AttackerProcess, url: str, others: Others, group: str, size: Size
) -> dict[str, Any]:
    """Alternate quiet phases, floods into the sink and floods at the server."""
    quiet, sink, attacked = Phases(others), Phases(others), Phases(others)
    results: list[dict[str, Any]] = []
    for _ in range(size.rounds):
        async with quiet.measuring():
            await asyncio.sleep(size.seconds)
        async with sink.measuring():
            await attacker.flood(group, "sink", size.seconds)
        async with attacked.measuring():
            results.append(await attacker.flood(group, url, size.seconds))
    # Each flood against the phases right before it: on a shared machine the next minute differs.
    ratios = (
        after / max(before)
        for *before, after in zip(quiet.p99_ms, sink.p99_ms, attacked.p99_ms, strict=True)
    )
    return {
        "quiet_p99_ms": round(quantile(quiet.p99_ms, 0.5), 1),
        "sink_p99_ms": round(quantile(sink.p99_ms, 0.5), 1),
        "p99_ms": round(quantile(attacked.p99_ms, 0.5), 1),
        "ratio": round(quantile(list(ratios), 0.5), 2),
        "quiet_cpu": quiet.cpu_share,
        "cpu": attacked.cpu_share,
        **{name: sum(each[name] for each in results) for name in COUNTS},
    }


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Run each group of inputs against one server that others use."""
    # With the limits of production, except those of the clients that measure.
    async with fleet(folder, ["all"], RATE_LIMITS="on", HTTP_REQUESTS_PER_MIN="1000") as running:
        node = running.nodes[0]
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            others = Others(node.site, http)
            await others.connect()
            began_s, lines_before = time.perf_counter(), len(_log_lines(node.server.log))
            async with start_attacker(node.site, "tests.e2e.anonymous_attacker") as attacker:
                figures = {
                    group: await _compare(attacker, node.site.url, others, group, size)
                    for group in size.groups
                }
            others.close()
        lines = len(_log_lines(node.server.log)) - lines_before
        allowed = LOG_LINES_BURST + LOG_LINES_PER_S * (time.perf_counter() - began_s)
        return {
            **figures,
            "worst_p99_ms": max(each["p99_ms"] for each in figures.values()),
            "worst_ratio": max(each["ratio"] for each in figures.values()),
            **{name: sum(each[name] for each in figures.values()) for name in COUNTS},
            "log_lines": lines,
            "too_many_lines": lines > allowed,
            "faults": len(node.log_faults),
        }


def _log_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def is_good(figures: dict[str, Any], slack: float = 1.0) -> bool:
    """Whether others were hardly slowed down, all input was answered, and nothing was logged.

    `slack` multiplies the limits on a shared machine.
    """
    return (
        figures["worst_p99_ms"] <= P99_MS_MAX * slack
        and figures["worst_ratio"] <= QUIET_RATIO_MAX * slack
        and not any(figures[name] for name in ("unanswered", "failed", "faults", "too_many_lines"))
    )


def main() -> None:
    """Run the floods and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=14, help="of floods for each group of inputs; 14 is full"
    )
    parser.add_argument("--groups", default=",".join(INPUTS), help="of inputs; all is full")
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    size = Size(options.seconds / ROUNDS, groups=tuple(options.groups.split(",")))
    with tempfile.TemporaryDirectory(prefix="reeyo-anonymous-") as folder:
        figures = uvloop.run(measure(size, Path(folder)))
    print_result("anonymous", vars(options), {**figures, "promise": _verdict(figures)})
    if not is_good(figures):
        raise SystemExit(1)


def _verdict(figures: dict[str, Any]) -> str:
    return "kept" if is_good(figures) else "broken"


if __name__ == "__main__":
    main()
