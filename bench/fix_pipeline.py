"""Cost of a fix inside the server: checks, one watcher, and the write to a real Redis.

`python -m bench.fix_pipeline [--full]`. It does not measure sockets, decoding or the network:
bench.relay does. CPU time of this process, so that other work on the machine disturbs it little.
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
from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, RiderAssignment
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import Scripts, open_redis
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.speeds import LearnedSpeeds

SEED = 1
SIZES = {"smoke": (200, 5), "full": (1_000, 100)}
STEP_MS = 4_000
# A watcher gets estimates too; only positions are counted.
POSITION_PREFIX = b'42/user,["rider_location_update"'
# No table is used here.
NO_DYNAMODB = "http://127.0.0.1:1"


class CountingWatcher:
    """A watcher that only counts positions."""

    def __init__(self) -> None:
        self.received = 0

    def send_position(self, packet: bytes) -> None:
        """Count a packet."""
        assert packet
        self.received += packet.startswith(POSITION_PREFIX)


class NoChannels:
    """Channels of a server without other nodes."""

    async def subscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """No other node publishes."""

    async def unsubscribe(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """No other node publishes."""


class FixLoad:
    """Riders with one order each, some of them watched."""

    def __init__(self, positions: Positions, riders: int) -> None:
        self.clock = ManualClock()
        self.watcher = CountingWatcher()
        self.watchers = Watchers(NoChannels(), "bench")
        self.writer = RedisWriter(positions, self.clock, flush_ms=50, riders_max=100_000)
        self.registry = RiderRegistry(self.writer, self.watchers, FreshnessLimits(15_000, 45_000))
        rules = TrackingRules(self.watchers, EtaEstimator(LearnedSpeeds()))
        self.pipeline = FixPipeline(self.registry, self.watchers, self.writer, rules)
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
        return RiderAssignment(
            order_id=OrderId(f"ord_{i}"), state=state, pickup=pickup, dropoff=dropoff
        )

    async def add_watchers(self) -> None:
        """Add a watcher to every order."""
        for i in range(len(self.places)):
            await self.watchers.join(f"ord_{i}", self.watcher)

    def report_fixes(self, step: int) -> float:
        """CPU of one fix of every rider, 30 m from the last one. Units: seconds."""
        self.clock.advance(STEP_MS)
        now_ms = self.clock.now_ms()
        fixes = [
            (f"rdr_{i}", Fix(lat + step * 0.00027, lng, 0.0, 8.0, 6.0, now_ms - 80, step))
            for i, (lat, lng) in enumerate(self.places)
        ]
        process = self.pipeline.process_fix
        began_s = time.process_time()
        for rider_id, fix in fixes:
            dropped = process(rider_id, fix, now_ms)
            assert dropped is None, dropped
        return time.process_time() - began_s

    async def flush(self) -> float:
        """CPU of writing all queued positions to Redis. Units: seconds."""
        began_s = time.process_time()
        while len(self.writer):
            await self.writer.flush()
        return time.process_time() - began_s


async def measure(riders: int, rounds: int) -> dict[str, object]:
    """CPU of a fix without and with a watcher, and of its write. Units: microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        config = settings.read({"DATA_DIR": folder, "DYNAMODB_ENDPOINT": NO_DYNAMODB}, dev=True)
        async with embedded_engines(config) as engines, open_redis(engines.redis_url) as redis:
            scripts = Scripts(redis.commands)
            pipeline = Pipeline(redis.commands, scripts)
            positions = Positions(pipeline, scripts, "bench", config.fix_lost_ms)
            load = FixLoad(positions, riders)
            alone, _ = await _cheapest_round(load, range(1, rounds + 1))
            await load.add_watchers()
            watched, flushed = await _cheapest_round(load, range(rounds + 1, 2 * rounds + 1))
    assert load.watcher.received == riders * rounds
    per_fix = 1e6 / riders
    return {
        "us_per_fix_without_watcher": round(alone * per_fix, 2),
        "us_per_fix_with_watcher": round(watched * per_fix, 2),
        "us_per_rider_flushed": round(flushed * per_fix, 2),
    }


async def _cheapest_round(load: FixLoad, steps: range) -> tuple[float, float]:
    """The cheapest of several rounds, because other work on the machine only adds."""
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
    print_result("fix_pipeline", parameters, figures)


if __name__ == "__main__":
    main()
