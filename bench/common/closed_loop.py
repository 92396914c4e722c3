"""Closed-loop load: each rider sends its next fix when its customer has seen the last one."""

import asyncio
import time
from collections.abc import Sequence

from bench.common.client import SocketClient
from bench.common.harness import BenchFailed, RunningServer, gc_disabled, percentiles_ms
from bench.common.scenario import BenchOrder
from bench.common.street import latitude_on_street

WARM_S = 0.5
# A fix that was not shown by then is lost.
STALL_S = 5.0


class ClosedLoopPair:
    """A rider under way and the customer who watches its order, with one fix in flight."""

    def __init__(self, order: BenchOrder) -> None:
        self._rider = order.assigned_rider
        self._started_s = time.monotonic()
        self._expected = b""
        self._sent_s = 0.0
        self._is_driving = False
        self.is_seen = True
        self.mismatches = 0
        self.latencies_s: list[float] = []
        self.watcher: SocketClient = order.customer.socket
        self.watcher.on_position = self._on_position

    def start(self) -> None:
        """Begin to send fixes."""
        self._is_driving = True
        self._send_fix()

    def stop(self) -> None:
        """Send no further fix."""
        self._is_driving = False

    def _send_fix(self) -> None:
        at_ms = int(time.time() * 1000)
        lat = latitude_on_street(self._rider.lat, time.monotonic() - self._started_s)
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
    """Relay fixes through the whole server for some seconds; rate, latency and the server's CPU.

    Errors: BenchFailed where a fix was lost or another position was shown.
    """
    pairs = [ClosedLoopPair(order) for order in orders]
    with gc_disabled():
        for pair in pairs:
            pair.start()
        await asyncio.sleep(WARM_S)
        for pair in pairs:
            pair.latencies_s.clear()
        cpu_s, began_s = site.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        cpu_s, passed_s = site.cpu_s() - cpu_s, time.perf_counter() - began_s
        latencies_s = [latency_s for pair in pairs for latency_s in pair.latencies_s]
    await _stop_all(pairs)
    return {
        "relay_fixes_per_s": round(len(latencies_s) / passed_s),
        "relay_server_cpu_us_per_fix": round(cpu_s * 1e6 / len(latencies_s), 1),
        **percentiles_ms("relay", latencies_s),
    }


async def _stop_all(pairs: Sequence[ClosedLoopPair]) -> None:
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
            f"{sum(pair.mismatches for pair in pairs)} positions were not the expected ones"
        )
