"""What a fix costs inside the server: checks, one watcher told, and its way into a real Redis.

`python -m bench.lane [--full]`. It does not measure sockets, decoding or the network: bench.relay
does. CPU time of this process, so that other work on the machine disturbs it little.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable

import uvloop

from bench.common.result_line import print_result
from dispatch import settings
from dispatch.clock import ManualClock
from dispatch.model import DispatchState, Place, RiderAssignment
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import Scripts, open_redis
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_state import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.speeds import LearnedSpeeds

SEED = 1
SIZES = {"smoke": (200, 5), "full": (1_000, 100)}
STEP_MS = 4_000
# Estimates come beside positions.
POSITION_PREFIX = b'42/user,["rider_location_update"'
# Nothing here connects to it.
NO_DYNAMODB = "http://127.0.0.1:1"


class CountingWatcher:
    """A watcher that only counts."""

    def __init__(self) -> None:
        self.received = 0

    def send_position(self, packet: bytes) -> None:
        """Take a packet."""
        assert packet
        self.received += packet.startswith(POSITION_PREFIX)


class NoChannels:
    """No other nodes."""

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Nobody says anything."""

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Nobody did."""


class FixLoad:
    """Riders with one order each, some of them watched."""

    def __init__(self, positions: Positions, riders: int) -> None:
        self.clock = ManualClock()
        self.watcher = CountingWatcher()
        self.watchers = Watchers(NoChannels(), "bench")
        self.writer = RedisWriter(positions, self.clock, flush_ms=50, riders_max=100_000)
        self.registry = RiderRegistry(self.writer, self.watchers, fresh_ms=15_000, lost_ms=45_000)
        guide = TrackingRules(self.watchers, EtaEstimator(LearnedSpeeds()))
        self.pipeline = FixPipeline(self.registry, self.watchers, self.writer, guide)
        self.rng = random.Random(SEED)
        self.places = [
            (4.0 + self.rng.random() * 0.1, 9.7 + self.rng.random() * 0.1) for _ in range(riders)
        ]
        for i in range(riders):
            self.registry.connect(f"rdr_{i}")
            self.registry.set_available(f"rdr_{i}", available=True)
            self.registry.assign(f"rdr_{i}", f"ord_{i}")
            self.registry.set_assignment(f"rdr_{i}", self._assignment(i))

    def _assignment(self, i: int) -> RiderAssignment:
        lat, lng = self.places[i]
        pickup, dropoff = Place(lat=lat + 0.05, lng=lng), Place(lat=lat + 0.1, lng=lng)
        state = DispatchState.ASSIGNED
        return RiderAssignment(order_id=f"ord_{i}", state=state, pickup=pickup, dropoff=dropoff)

    async def add_watchers(self) -> None:
        """Let every order have its watcher."""
        for i in range(len(self.places)):
            await self.watchers.join(f"ord_{i}", self.watcher)

    def report_fixes(self, step: int) -> float:
        """Every rider reports once, 30 m further; the CPU that took. Units: seconds."""
        self.clock.advance(STEP_MS)
        now_ms = self.clock.now_ms()
        fixes = [
            (f"rdr_{i}", Fix(lat + step * 0.00027, lng, 0.0, 8.0, 6.0, now_ms - 80, step))
            for i, (lat, lng) in enumerate(self.places)
        ]
        report = self.pipeline.process_fix
        began_s = time.process_time()
        for rider_id, fix in fixes:
            dropped = report(rider_id, fix, now_ms)
            assert dropped is None, dropped
        return time.process_time() - began_s

    async def flush(self) -> float:
        """Bring all that waits to Redis; the CPU that took. Units: seconds."""
        began_s = time.process_time()
        while len(self.writer):
            await self.writer.flush()
        return time.process_time() - began_s


async def measure(riders: int, rounds: int) -> dict[str, object]:
    """Drive the riders without and with watchers."""
    with tempfile.TemporaryDirectory() as folder:
        ours = settings.read({"DATA_DIR": folder, "DYNAMODB_ENDPOINT": NO_DYNAMODB}, dev=True)
        async with embedded_engines(ours) as engines, open_redis(engines.redis_url) as redis:
            positions = Positions(
                redis.commands, Scripts(redis.commands), "bench", ours.fix_lost_ms
            )
            city = FixLoad(positions, riders)
            alone, _ = await _cheapest_round(city, range(1, rounds + 1))
            await city.add_watchers()
            watched, flushed = await _cheapest_round(city, range(rounds + 1, 2 * rounds + 1))
    assert city.watcher.received == riders * rounds
    per_fix = 1e6 / riders
    return {
        "us_per_fix_without_watcher": round(alone * per_fix, 2),
        "us_per_fix_with_watcher": round(watched * per_fix, 2),
        "us_per_rider_flushed": round(flushed * per_fix, 2),
    }


async def _cheapest_round(load: FixLoad, steps: range) -> tuple[float, float]:
    """The cheapest of several rounds: what others do on the machine only ever adds to it."""
    rounds = [(load.report_fixes(step), await load.flush()) for step in steps]
    return min(reported for reported, _ in rounds), min(flushed for _, flushed in rounds)


def main() -> None:
    """Run one size and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the size that figures are quoted from")
    size = "full" if parser.parse_args().full else "smoke"
    riders, rounds = SIZES[size]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(riders, rounds))
    parameters = {"size": size, "riders": riders, "rounds": rounds, "seed": SEED}
    print_result("lane", parameters, figures)


if __name__ == "__main__":
    main()
