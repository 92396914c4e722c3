"""Open-loop load: riders report at a fixed rate, whether or not earlier fixes were seen."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, run_limited
from bench.common.scenario import Person
from bench.common.street import latitude_on_street

TICK_S = 0.002
# Connects at once: enough to keep a server busy.
CONNECTS_AT_ONCE = 16
LAT, LNG = 4.04, 9.70
# A fix that was not shown by then is lost.
LAST_FIX_TIMEOUT_S = 10.0
_TS_PREFIX = b'"ts":'


class StreamResult(NamedTuple):
    """What became of the fixes of one run. Units: seconds.

    `latencies_s` has one element for each fix that was shown. `sent` counts all fixes, and
    `superseded` those in whose place a newer one was shown. `ages_s` says, each time a position is
    shown, how old the customer's view had become. `out_of_order` counts positions older than one
    that was shown before.
    """

    sent: int
    latencies_s: list[float]
    ages_s: list[float]
    superseded: int
    out_of_order: int


class OpenLoopPair:
    """A rider under way and the customer who watches its order; a fix is known by its time."""

    def __init__(self, number: int, rider: SocketClient, watcher: SocketClient) -> None:
        lat, lng = LAT + number % 64 * 0.0003, LNG + number // 64 * 0.0003
        self.rider = Person(("RIDER", f"rdr_{number}"), lat, lng, rider)
        self._in_flight: deque[tuple[int, float]] = deque()
        self._last_ms = 0
        self._shown_ms = 0
        self.reset_counts()
        watcher.on_position = self._on_position

    def reset_counts(self) -> None:
        """Begin to count at zero."""
        self.sent = self.superseded = self.out_of_order = 0
        self.latencies_s: list[float] = []
        self.ages_s: list[float] = []

    def send_fix(self, now_s: float | None = None) -> None:
        """Send one fix; none where the last one has the same time, which identifies it.

        Units: Unix seconds; None is now.
        """
        now_s = now_s or time.time()
        at_ms = int(now_s * 1000)
        if at_ms <= self._last_ms:
            return
        self._last_ms = at_ms
        lat = latitude_on_street(self.rider.lat, now_s)
        self._in_flight.append((at_ms, time.perf_counter()))
        self.sent += 1
        self.rider.socket.send(self.rider.fix_packet(lat, self.rider.lng, at_ms))

    @property
    def has_unseen_fix(self) -> bool:
        """Whether a fix was sent that has not been shown."""
        return bool(self._in_flight)

    def _on_position(self, packet: bytes) -> None:
        start = packet.index(_TS_PREFIX) + len(_TS_PREFIX)
        at_ms = int(packet[start : packet.index(b",", start)])
        self.out_of_order += at_ms < self._shown_ms
        self._shown_ms = max(self._shown_ms, at_ms)
        now_s = time.perf_counter()
        while self._in_flight and self._in_flight[0][0] <= at_ms:
            sent_ms, sent_s = self._in_flight.popleft()
            if sent_ms == at_ms:
                self.latencies_s.append(now_s - sent_s)
            else:
                self.superseded += 1
        if self._in_flight:
            self.ages_s.append(now_s - self._in_flight[0][1])


class PairStream:
    """All connected pairs."""

    def __init__(self, pairs: Sequence[OpenLoopPair]) -> None:
        self._pairs = pairs

    async def run(self, seconds: float, fixes_per_s: float) -> StreamResult:
        """Let the riders report in turn at a total rate, then wait for the last fix to be shown.

        Units: seconds, fixes a second of all riders together.
        """
        for pair in self._pairs:
            pair.reset_counts()
        await self._send(seconds, fixes_per_s)
        end_s = time.perf_counter() + LAST_FIX_TIMEOUT_S
        # No event says that the last fix was shown.
        while any(pair.has_unseen_fix for pair in self._pairs) and time.perf_counter() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
        return StreamResult(
            sent=sum(pair.sent for pair in self._pairs),
            latencies_s=[latency_s for pair in self._pairs for latency_s in pair.latencies_s],
            ages_s=[age_s for pair in self._pairs for age_s in pair.ages_s],
            superseded=sum(pair.superseded for pair in self._pairs),
            out_of_order=sum(pair.out_of_order for pair in self._pairs),
        )

    async def _send(self, seconds: float, fixes_per_s: float) -> None:
        began_s, sent, count = time.perf_counter(), 0, len(self._pairs)
        while (passed_s := time.perf_counter() - began_s) < seconds:
            due = int(passed_s * fixes_per_s)
            for number in range(sent, due):
                self._pairs[number % count].send_fix()
            sent = max(sent, due)
            await asyncio.sleep(TICK_S)


def _ignore_event(_name: str, _payload: dict[str, Any], _at_s: float) -> None:
    """Only positions count here."""


async def connect_pairs(
    pairs: int, riders_at: Sequence[RunningServer], watchers_at: Sequence[RunningServer]
) -> PairStream:
    """Connect the pairs of orders that `bench.common.seeding` has written, servers in rotation.

    Errors: BenchFailed.
    """

    async def join(number: int) -> OpenLoopPair:
        rider_site = riders_at[number % len(riders_at)]
        # Each server's customers watch riders of every server.
        site = watchers_at[number // len(riders_at) % len(watchers_at)]
        rider = await rider_site.connect(("RIDER", f"rdr_{number}"), _ignore_event)
        watcher = await site.connect(("USER", f"usr_{number}"), _ignore_event)
        pair = OpenLoopPair(number, rider, watcher)
        # The first fix makes the server load the rider's assignment and the order's watchers.
        snapshot = await watcher.call("subscribe_order", {"orderId": f"ord_{number}"})
        if snapshot.get("orderId") != f"ord_{number}":
            raise BenchFailed(f"ord_{number} is not watched: {snapshot}")
        pair.send_fix()
        return pair

    jobs = [lambda number=number: join(number) for number in range(pairs)]
    stream = PairStream(await run_limited(CONNECTS_AT_ONCE, jobs))
    await stream.run(1.0, pairs)
    return stream
