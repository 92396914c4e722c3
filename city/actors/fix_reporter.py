"""Sends a rider's GPS fixes as often as the server asks, and buffers them without a connection."""

import asyncio
import math
from collections import deque
from random import Random
from typing import Any

from city.actors.city import City
from city.actors.driving import PositionSource
from city.client.socket_client import CommandRefused, ConnectionLost, SocketClient
from city.model.gps import NOMINAL_S, GpsReceiver
from city.model.phone import random_phone
from city.model.streets import Point

# Source: docs/contract.md, `location_batch` carries at most 100 fixes.
BUFFERED_FIXES_MAX = 100
# A rider silent for 15 s is stale and gets no offers; a fix needs a part of that to arrive.
# Source: docs/contract.md, a rider's last fix may be 15 s old.
SILENCE_MAX_S = 12.0
# The first fix is sent this soon after the app has connected.
FIRST_FIX_WITHIN_S = 0.5


class FixReporter:
    """The GPS side of one rider's app. Units: seconds, metres."""

    def __init__(
        self, city: City, rider_id: str, socket: SocketClient, position: PositionSource, rng: Random
    ) -> None:
        self._city = city
        self._socket = socket
        self._true_position = position
        self._rng = rng
        self._gps = GpsReceiver(city.rng(f"phone/{rider_id}"))
        self._phone = random_phone(city.rng(f"phone kind/{rider_id}"), city.behaviour)
        self.interval_s = NOMINAL_S
        self.min_move_m = 0.0
        self._last_report: tuple[float, Point] | None = None
        # Overflow: the oldest fix is dropped, and counted.
        self._buffered: deque[dict[str, Any]] = deque()

    def apply_policy(self, policy: dict[str, Any]) -> None:
        """Follow the server's `tracking_policy`, but never be silent for too long."""
        interval_s = float(policy.get("intervalMs", 5000)) / 1000
        self.interval_s = min(max(1.0, interval_s), SILENCE_MAX_S)
        self.min_move_m = float(policy.get("minDisplacementM", 0))

    async def run(self) -> None:
        """Report until cancelled."""
        city = self._city
        await self._socket.wait_connected()
        pause_s = self._rng.uniform(0, FIRST_FIX_WITHIN_S)
        while True:
            await asyncio.sleep(pause_s)
            is_moving = self._true_position().speed_mps > 0
            pause_s = self._gps.next_interval_s(self.interval_s, is_moving=is_moving)
            city.counters.count("reporting_ms", round(pause_s * 1000))
            if self.may_skip(pause_s):
                city.counters.count("fixes_skipped")
                continue
            fix = self.take_fix()
            if not await self._send(fix):
                self._buffer(fix)
            elif self._rng.random() < city.behaviour.outage_chance:
                outage_s = city.human_delay_s(self._rng, city.behaviour.outage_median_s)
                self._socket.simulate_outage(outage_s)

    def may_skip(self, pause_s: float) -> bool:
        """Whether the server does not need this fix: the rider hardly moved, the next is soon."""
        if self._last_report is None:
            return False
        at_s, last_point = self._last_report
        silent_s = self._city.clock.monotonic_s() + pause_s - at_s
        return (
            silent_s < SILENCE_MAX_S
            and math.dist(last_point, self._true_position().point) < self.min_move_m
        )

    def take_fix(self) -> dict[str, Any]:
        """Make the fix of this moment, and remember where it was made."""
        position = self._true_position()
        self._last_report = (self._city.clock.monotonic_s(), position.point)
        fix = self._gps.observe(position, self._city.clock.now_ms())
        return dict(self._phone.report(fix))

    async def _send(self, fix: dict[str, Any]) -> bool:
        if not self._socket.is_open:
            return False
        if self._buffered:
            return await self._send_batch([*self._buffered, fix])
        if not await self._socket.send_event("location_update", fix):
            return False
        self._city.counters.count("fixes_sent")
        if self._rng.random() < self._city.behaviour.duplicate_chance:
            await self._socket.send_event("location_update", fix)
            self._city.counters.count("fixes_duplicated")
        return True

    async def _send_batch(self, fixes: list[dict[str, Any]]) -> bool:
        try:
            await self._socket.call("location_batch", {"fixes": fixes})
        except ConnectionLost:
            return False
        except CommandRefused as refusal:
            self._city.counters.count_error("rider", refusal.command, refusal.code)
        self._city.counters.count("fixes_sent", len(fixes))
        self._city.counters.count("batches_sent")
        self._buffered.clear()
        return True

    def _buffer(self, fix: dict[str, Any]) -> None:
        if len(self._buffered) >= BUFFERED_FIXES_MAX - 1:
            self._buffered.popleft()
            self._city.counters.count("buffered_fixes_dropped")
        self._buffered.append(fix)
