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

from bench.common.result_line import print_line
from dispatch import settings
from dispatch.clock import ManualClock
from dispatch.model import Course, DispatchState, Place
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import Scripts, open_redis
from dispatch.tracking.eta import Forecast
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.speeds import Speeds

SEED = 1
SIZES = {"smoke": (200, 5), "full": (1_000, 100)}
STEP_MS = 4_000
# Estimates come beside positions.
POSITION = b'42/user,["rider_location_update"'
# Nothing here connects to it.
NO_DYNAMODB = "http://127.0.0.1:1"


class Counting:
    """A watcher that only counts."""

    def __init__(self) -> None:
        self.told = 0

    def show(self, packet: bytes) -> None:
        """Take a packet."""
        assert packet
        self.told += packet.startswith(POSITION)


class Silence:
    """No other nodes."""

    async def open(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Nobody says anything."""

    async def close(self, channel: str, callback: Callable[[bytes], None]) -> None:
        """Nobody did."""


class City:
    """Riders with one order each, some of them watched."""

    def __init__(self, positions: Positions, riders: int) -> None:
        self.clock = ManualClock()
        self.watcher = Counting()
        self.watchers = Watchers(Silence(), "bench")
        self.drain = Drain(positions, self.clock, flush_ms=50, riders_max=100_000)
        self.roster = Roster(self.drain, self.watchers, fresh_ms=15_000, lost_ms=45_000)
        guide = Guide(self.watchers, Forecast(Speeds()))
        self.lane = Lane(self.roster, self.watchers, self.drain, guide)
        self.rng = random.Random(SEED)
        self.places = [
            (4.0 + self.rng.random() * 0.1, 9.7 + self.rng.random() * 0.1) for _ in range(riders)
        ]
        for i in range(riders):
            self.roster.seat(f"rdr_{i}")
            self.roster.set_available(f"rdr_{i}", available=True)
            self.roster.assign(f"rdr_{i}", f"ord_{i}")
            self.roster.steer(f"rdr_{i}", self._course(i))

    def _course(self, i: int) -> Course:
        lat, lng = self.places[i]
        pickup, dropoff = Place(lat=lat + 0.05, lng=lng), Place(lat=lat + 0.1, lng=lng)
        state = DispatchState.ASSIGNED
        return Course(order_id=f"ord_{i}", state=state, pickup=pickup, dropoff=dropoff)

    async def watch(self) -> None:
        """Let every order have its watcher."""
        for i in range(len(self.places)):
            await self.watchers.join(f"ord_{i}", self.watcher)

    def drive(self, step: int) -> float:
        """Every rider reports once, 30 m further; the CPU that took. Units: seconds."""
        self.clock.advance(STEP_MS)
        now_ms = self.clock.now_ms()
        fixes = [
            (f"rdr_{i}", Fix(lat + step * 0.00027, lng, 0.0, 8.0, 6.0, now_ms - 80, step))
            for i, (lat, lng) in enumerate(self.places)
        ]
        report = self.lane.report
        began_s = time.process_time()
        for rider_id, fix in fixes:
            dropped = report(rider_id, fix, now_ms)
            assert dropped is None, dropped
        return time.process_time() - began_s

    async def flush(self) -> float:
        """Bring all that waits to Redis; the CPU that took. Units: seconds."""
        began_s = time.process_time()
        while len(self.drain):
            await self.drain.flush()
        return time.process_time() - began_s


async def measure(riders: int, rounds: int) -> dict[str, object]:
    """Drive the riders without and with watchers."""
    with tempfile.TemporaryDirectory() as folder:
        ours = settings.read({"DATA_DIR": folder, "DYNAMODB_ENDPOINT": NO_DYNAMODB}, dev=True)
        async with embedded_engines(ours) as engines, open_redis(engines.redis_url) as redis:
            positions = Positions(
                redis.commands, Scripts(redis.commands), "bench", ours.fix_lost_ms
            )
            city = City(positions, riders)
            alone, _ = await _drive(city, range(1, rounds + 1))
            await city.watch()
            watched, flushed = await _drive(city, range(rounds + 1, 2 * rounds + 1))
    assert city.watcher.told == riders * rounds
    per_fix = 1e6 / riders
    return {
        "us_per_fix_without_watcher": round(alone * per_fix, 2),
        "us_per_fix_with_watcher": round(watched * per_fix, 2),
        "us_per_rider_flushed": round(flushed * per_fix, 2),
    }


async def _drive(city: City, steps: range) -> tuple[float, float]:
    """The cheapest of several rounds: what others do on the machine only ever adds to it."""
    rounds = [(city.drive(step), await city.flush()) for step in steps]
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
    print_line("lane", parameters, figures)


if __name__ == "__main__":
    main()
