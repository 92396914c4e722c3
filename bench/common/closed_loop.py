"""Riders who drive and customers who watch, one fix under way for each pair at any time."""

import asyncio
import time
from collections.abc import Sequence

from bench.common.client import Phone
from bench.common.harness import Failed, Site, spread_ms, uncollected
from bench.common.scenario import Job

WARM_S = 0.5
# A pair that has not heard for so long has lost its fix.
STALL_S = 5.0
# A motorbike in traffic, up and down a straight street. Units: metres per second, metres.
SPEED_MPS, STREET_M = 8.0, 400.0
METRES_PER_DEGREE = 111_195.1


class Pair:
    """A rider on his way and the customer who watches him."""

    def __init__(self, job: Job) -> None:
        self._rider = job.carrier
        self._began_s = time.monotonic()
        self._awaited = b""
        self._sent_s = 0.0
        self._is_driving = False
        self.is_heard = True
        self.faults = 0
        self.took_s: list[float] = []
        self.watch: Phone = job.customer.phone
        self.watch.on_position = self._seen

    def drive(self) -> None:
        """Set off."""
        self._is_driving = True
        self._send()

    def halt(self) -> None:
        """Send no more."""
        self._is_driving = False

    def _send(self) -> None:
        at_ms = int(time.time() * 1000)
        driven_m = (time.monotonic() - self._began_s) * SPEED_MPS % (2 * STREET_M)
        lat = self._rider.lat + min(driven_m, 2 * STREET_M - driven_m) / METRES_PER_DEGREE
        packet = self._rider.fix(lat, self._rider.lng, at_ms)
        self._awaited = b'"ts":%d' % at_ms
        self.is_heard = False
        self._sent_s = time.perf_counter()
        self._rider.phone.send(packet)

    def _seen(self, packet: bytes) -> None:
        self.took_s.append(time.perf_counter() - self._sent_s)
        self.is_heard = True
        self.faults += self._awaited not in packet
        if self._is_driving:
            self._send()


async def relay(site: Site, jobs: Sequence[Job], seconds: float) -> dict[str, object]:
    """Fixes through the whole server, each seen by its customer before the next is sent.

    Errors: Failed where a fix was lost or something else was shown.
    """
    pairs = [Pair(job) for job in jobs]
    with uncollected():
        for pair in pairs:
            pair.drive()
        await asyncio.sleep(WARM_S)
        for pair in pairs:
            pair.took_s.clear()
        cpu_s, began_s = site.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        cpu_s, passed_s = site.cpu_s() - cpu_s, time.perf_counter() - began_s
        took_s = [took for pair in pairs for took in pair.took_s]
    await _halt(pairs)
    return {
        "relay_fixes_per_s": round(len(took_s) / passed_s),
        "relay_server_cpu_us_per_fix": round(cpu_s * 1e6 / len(took_s), 1),
        **spread_ms("relay", took_s),
    }


async def _halt(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        pair.halt()
    end_s = time.monotonic() + STALL_S
    while not all(pair.is_heard for pair in pairs):
        if time.monotonic() > end_s:
            lost = sum(not pair.is_heard for pair in pairs)
            raise Failed(f"{lost} of {len(pairs)} customers did not see the last fix")
        await asyncio.sleep(0.01)
    if any(pair.faults for pair in pairs):
        raise Failed(f"{sum(pair.faults for pair in pairs)} positions were not the awaited ones")
