"""Riders who drive and customers who watch, one fix under way for each pair at any time."""

import asyncio
import time
from collections.abc import Sequence

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, gc_disabled, percentiles_ms
from bench.common.scenario import BenchOrder

WARM_S = 0.5
# A pair that has not heard for so long has lost its fix.
STALL_S = 5.0
# A motorbike in traffic, up and down a straight street. Units: metres per second, metres.
SPEED_MPS, STREET_M = 8.0, 400.0
METRES_PER_DEGREE = 111_195.1


class Pair:
    """A rider on his way and the customer who watches him."""

    def __init__(self, job: BenchOrder) -> None:
        self._rider = job.assigned_rider
        self._started_s = time.monotonic()
        self._expected = b""
        self._sent_s = 0.0
        self._is_driving = False
        self.is_seen = True
        self.mismatches = 0
        self.latencies_s: list[float] = []
        self.watcher: SocketClient = job.customer.socket
        self.watcher.on_position = self._on_position

    def start(self) -> None:
        """Set off."""
        self._is_driving = True
        self._send_fix()

    def stop(self) -> None:
        """Send no more."""
        self._is_driving = False

    def _send_fix(self) -> None:
        at_ms = int(time.time() * 1000)
        driven_m = (time.monotonic() - self._started_s) * SPEED_MPS % (2 * STREET_M)
        lat = self._rider.lat + min(driven_m, 2 * STREET_M - driven_m) / METRES_PER_DEGREE
        packet = self._rider.fix_packet(lat, self._rider.lng, at_ms)
        self._expected = b'"ts":%d' % at_ms
        self.is_seen = False
        self._sent_s = time.perf_counter()
        self._rider.socket.send(packet)

    def _on_position(self, packet: bytes) -> None:
        self.latencies_s.append(time.perf_counter() - self._sent_s)
        self.is_seen = True
        self.mismatches += self._expected not in packet
        if self._is_driving:
            self._send_fix()


async def measure_relay(
    site: RunningServer, orders: Sequence[BenchOrder], seconds: float
) -> dict[str, object]:
    """Fixes through the whole server, each seen by its customer before the next is sent.

    Errors: Failed where a fix was lost or something else was shown.
    """
    pairs = [Pair(job) for job in orders]
    with gc_disabled():
        for pair in pairs:
            pair.start()
        await asyncio.sleep(WARM_S)
        for pair in pairs:
            pair.latencies_s.clear()
        cpu_s, began_s = site.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        cpu_s, passed_s = site.cpu_s() - cpu_s, time.perf_counter() - began_s
        took_s = [took for pair in pairs for took in pair.latencies_s]
    await _stop_all(pairs)
    return {
        "relay_fixes_per_s": round(len(took_s) / passed_s),
        "relay_server_cpu_us_per_fix": round(cpu_s * 1e6 / len(took_s), 1),
        **percentiles_ms("relay", took_s),
    }


async def _stop_all(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.stop()
    end_s = time.monotonic() + STALL_S
    while not all(pair.is_seen for pair in pairs):
        if time.monotonic() > end_s:
            lost = sum(not pair.is_seen for pair in pairs)
            raise BenchFailed(f"{lost} of {len(pairs)} customers did not see the last fix")
        await asyncio.sleep(0.01)
    if any(pair.mismatches for pair in pairs):
        raise BenchFailed(
            f"{sum(pair.mismatches for pair in pairs)} positions were not the awaited ones"
        )
