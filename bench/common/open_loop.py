"""Riders who report at their own pace, whatever becomes of it, and customers who watch them."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, run_limited
from bench.common.scenario import Person

TICK_S = 0.002
# Connects at once: enough to keep a server busy.
CONNECTS_AT_ONCE = 16
# A motorbike in traffic, up and down a straight street. Units: metres per second, metres.
SPEED_MPS, STREET_M = 8.0, 400.0
METRES_PER_DEGREE = 111_195.1
LAT, LNG = 4.04, 9.70
# Whoever has not seen a fix by then never will.
LAST_FIX_TIMEOUT_S = 10.0
_TS_PREFIX = b'"ts":'


class StreamResult(NamedTuple):
    """What became of the fixes of a stretch of time. Units: seconds.

    `took_s` holds one for each fix that was seen; `sent` and `overtaken` count fixes that were
    sent, and those that were never shown, for a newer one was shown in their place. `age_s` says,
    at each sight, how old what the customer looked at had become.
    """

    sent: int
    latencies_s: list[float]
    ages_s: list[float]
    superseded: int
    out_of_order: int


class Pair:
    """A rider on his way and the customer who watches him; a fix is known by its time."""

    def __init__(self, number: int, rider: SocketClient, watcher: SocketClient) -> None:
        lat, lng = LAT + number % 64 * 0.0003, LNG + number // 64 * 0.0003
        self.rider = Person(("RIDER", f"rdr_{number}"), lat, lng, rider)
        self._in_flight: deque[tuple[int, float]] = deque()
        self._last_ms = 0
        self._shown_ms = 0
        self.reset_counts()
        watcher.on_position = self._on_position

    def reset_counts(self) -> None:
        """Count from now on."""
        self.sent = self.overtaken = self.backwards = 0
        self.took_s: list[float] = []
        self.age_s: list[float] = []

    def send_fix(self) -> None:
        """Send one fix; where the last one has the same time, which is its name, none."""
        now_s = time.time()
        at_ms = int(now_s * 1000)
        if at_ms <= self._last_ms:
            return
        self._last_ms = at_ms
        driven_m = now_s * SPEED_MPS % (2 * STREET_M)
        lat = self.rider.lat + min(driven_m, 2 * STREET_M - driven_m) / METRES_PER_DEGREE
        self._in_flight.append((at_ms, time.perf_counter()))
        self.sent += 1
        self.rider.socket.send(self.rider.fix_packet(lat, self.rider.lng, at_ms))

    @property
    def has_unseen_fix(self) -> bool:
        """Whether a fix was sent that nobody has seen yet."""
        return bool(self._in_flight)

    def _on_position(self, packet: bytes) -> None:
        start = packet.index(_TS_PREFIX) + len(_TS_PREFIX)
        at_ms = int(packet[start : packet.index(b",", start)])
        self.backwards += at_ms < self._shown_ms
        self._shown_ms = max(self._shown_ms, at_ms)
        now_s = time.perf_counter()
        while self._in_flight and self._in_flight[0][0] <= at_ms:
            sent_ms, sent_s = self._in_flight.popleft()
            if sent_ms == at_ms:
                self.took_s.append(now_s - sent_s)
            else:
                self.overtaken += 1
        if self._in_flight:
            self.age_s.append(now_s - self._in_flight[0][1])


class PairStream:
    """All pairs, connected."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs

    async def run(self, seconds: float, fixes_per_s: float) -> StreamResult:
        """Let the riders report in turn, so many fixes a second in all, and wait for the last."""
        for pair in self._pairs:
            pair.reset_counts()
        await self._send(seconds, fixes_per_s)
        end_s = time.perf_counter() + LAST_FIX_TIMEOUT_S
        # Nothing tells when the last fix was seen.
        while any(pair.has_unseen_fix for pair in self._pairs) and time.perf_counter() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(TICK_S)
        return StreamResult(
            sent=sum(pair.sent for pair in self._pairs),
            latencies_s=[took for pair in self._pairs for took in pair.took_s],
            ages_s=[age for pair in self._pairs for age in pair.age_s],
            superseded=sum(pair.overtaken for pair in self._pairs),
            out_of_order=sum(pair.backwards for pair in self._pairs),
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
    """Riders and customers only look at positions."""


async def connect_pairs(
    pairs: int, riders_at: Sequence[RunningServer], watchers_at: Sequence[RunningServer]
) -> PairStream:
    """Pairs of orders that `bench.common.seeding` has written; each server gets its share in turn.

    Errors: Failed.
    """

    async def join(number: int) -> Pair:
        rider_site = riders_at[number % len(riders_at)]
        # Each server's customers watch riders of every server.
        site = watchers_at[number // len(riders_at) % len(watchers_at)]
        rider = await rider_site.connect(("RIDER", f"rdr_{number}"), _ignore_event)
        watcher = await site.connect(("USER", f"usr_{number}"), _ignore_event)
        pair = Pair(number, rider, watcher)
        # The first fix brings the rider's duty and the others' knowledge of it into place.
        snapshot = await watcher.call("subscribe_order", {"orderId": f"ord_{number}"})
        if snapshot.get("orderId") != f"ord_{number}":
            raise BenchFailed(f"ord_{number} is not watched: {snapshot}")
        pair.send_fix()
        return pair

    jobs = [lambda number=number: join(number) for number in range(pairs)]
    stream = PairStream(await run_limited(CONNECTS_AT_ONCE, jobs))
    await stream.run(1.0, pairs)
    return stream
