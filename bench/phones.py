"""Real traces from odd phones: what is shown, what is kept, and whether a rider loses its order.

`python -m bench.phones --traces DIR [--every 1] [--seed N]`; every trace is the full size. Each
of GOAL's traces is sent by one phone of each kind through the fix pipeline, on a manual clock.
No server, socket or Redis runs; `tests/simulation` has such phones on the whole product.
"""

import argparse
import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from bench.common.result_line import print_result
from bench.common.traces import TracePoint, read_traces
from bench.fix_pipeline import NoChannels
from bench.jumps import LAT, LNG, VEHICLE, fixes_of
from dispatch.clock import ManualClock
from dispatch.model import OfferPolicy, Place, Position, Presence, RiderPresence
from dispatch.orders.offers.approach import PRESENCE_LAG_MS, check_every_ms
from dispatch.service_area import Circle, ServiceArea
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.fixes.rules import FixRules
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.rider_state import RiderAttributes
from dispatch.tracking.stores.positions import IndexRemoval, PositionUpdate, PresenceUpdate
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import Fix
from matching.geo import distance_m
from matching.speeds import LearnedSpeeds

# What `docs/promises.md` says: no order is taken from a rider who sent anything in the last minute.
SEEN_WITHIN_MS = OfferPolicy().vanish_ms
HOUR_MS, YEAR_MS = 3_600_000, 365 * 24 * 3_600_000
PONG_EVERY_MS = 10_000
SHOP, RIDE = "shop", "ride"
RULES = FixRules(area=ServiceArea((Circle(LAT, LNG, 50.0),)))


class Packet(NamedTuple):
    """One fix as a phone sends it, and when it arrives. Units: Unix milliseconds."""

    at_ms: int
    fix: Fix
    sid: str = RIDE


class Drive(NamedTuple):
    """The true fixes of a trace, and whether the agent drives at each of them."""

    fixes: Sequence[Fix]
    is_driving: Sequence[bool]


Phone = Callable[[Drive, random.Random], list[Packet]]


def _each(change: Callable[[int, Fix, Drive], Fix]) -> Phone:
    """A phone that changes each fix, and sends it at once."""

    def send(drive: Drive, _rng: random.Random) -> list[Packet]:
        return [
            Packet(_ms(fix), change(number, fix, drive)) for number, fix in enumerate(drive.fixes)
        ]

    return send


def _ms(fix: Fix) -> int:
    assert fix.ts is not None
    return int(fix.ts)


def _indoors(number: int, fix: Fix, drive: Drive) -> Fix:
    return fix if drive.is_driving[number] else replace(fix, accuracy=65.0)


def _clock_back(number: int, fix: Fix, drive: Drive) -> Fix:
    late = number >= len(drive.fixes) // 2
    return replace(fix, ts=_ms(fix) - HOUR_MS * late)


def _sentinel(number: int, fix: Fix, drive: Drive) -> Fix:
    middle = len(drive.fixes) // 2
    is_bad = number % 9 == 4 or middle <= number < middle + 4
    return replace(fix, lat=0.0, lng=0.0) if is_bad else fix


def _random_clock(drive: Drive, rng: random.Random) -> list[Packet]:
    offsets = [rng.randint(-YEAR_MS, YEAR_MS) for _ in drive.fixes]
    return [
        Packet(_ms(fix), replace(fix, ts=_ms(fix) + offsets[number // 5]))
        for number, fix in enumerate(drive.fixes)
    ]


def _repeats(drive: Drive, _rng: random.Random) -> list[Packet]:
    sent: list[Packet] = []
    for number, fix in enumerate(drive.fixes):
        is_repeat = bool(sent) and not drive.is_driving[number]
        sent.append(Packet(_ms(fix), sent[-1].fix if is_repeat else fix))
    return sent


def _tunnel(drive: Drive, _rng: random.Random) -> list[Packet]:
    """Without reception for a third of the time; then all kept fixes at once, oldest first."""
    third = len(drive.fixes) // 3
    out_ms = _ms(drive.fixes[min(2 * third, len(drive.fixes) - 1)])
    return [
        Packet(max(_ms(fix), out_ms) if number >= third else _ms(fix), fix)
        for number, fix in enumerate(drive.fixes)
    ]


def _two_phones(drive: Drive, _rng: random.Random) -> list[Packet]:
    """One that rides, and one that was left where the trace begins."""
    left = drive.fixes[0]
    there = [Packet(_ms(fix) + 1_500, replace(left, ts=_ms(fix) + 1_500), SHOP)
             for fix in drive.fixes]  # fmt: skip
    here = [Packet(_ms(fix), fix) for fix in drive.fixes]
    return sorted([*here, *there], key=lambda packet: packet.at_ms)


PHONES: dict[str, Phone] = {
    "honest": _each(lambda _number, fix, _drive: fix),
    "coarse_indoors": _each(_indoors),
    "coarse_always": _each(lambda _number, fix, _drive: replace(fix, accuracy=65.0)),
    "hopeless": _each(lambda _number, fix, _drive: replace(fix, accuracy=9_000.0)),
    "clock_back_an_hour": _each(_clock_back),
    "clock_off_by_years": _each(lambda _n, fix, _d: replace(fix, ts=_ms(fix) - 30 * YEAR_MS)),
    "clock_set_every_five": _random_clock,
    "clock_in_seconds": _each(lambda _n, fix, _d: replace(fix, ts=_ms(fix) // 1_000)),
    "repeats_when_standing": _repeats,
    "tunnel": _tunnel,
    "two_phones": _two_phones,
    "sentinels": _each(_sentinel),
}


class KeptPositions:
    """What Redis would have of the rider."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.presence: Presence | None = None
        self.trail: set[tuple[float, float]] = set()

    async def put(
        self,
        batch: Sequence[PositionUpdate],
        removals: Sequence[IndexRemoval] = (),
        presences: Sequence[PresenceUpdate] = (),
    ) -> frozenset[str]:
        """Keep the newest position and presence, and the points of the trail."""
        for update in batch:
            self.position = update.position
            self.trail.update(((p.lat, p.lng) for _, p in update.trail))
        for update in presences:
            self.presence = update.presence
        return frozenset()


class PhoneReplay:
    """One rider with an order, its server, and the engine's look at whether it is there."""

    def __init__(self, began_ms: int) -> None:
        self.clock = ManualClock()
        self.clock.advance(began_ms - self.clock.now_ms())
        self.sink = KeptPositions()
        watchers = Watchers(NoChannels(), "bench")
        self.writer = RedisWriter(self.sink, self.clock, flush_ms=50, riders_max=10)
        limits = FreshnessLimits(RULES.fresh_ms, 45_000)
        self.registry = RiderRegistry(self.writer, watchers, limits, RULES)
        rules = TrackingRules(watchers, EtaEstimator(LearnedSpeeds()))
        self.pipeline = FixPipeline(self.registry, watchers, self.writer, rules)
        self.registry.connect("rdr_1")
        self.registry.set_attributes("rdr_1", RiderAttributes(vehicle=VEHICLE))
        self.registry.set_available("rdr_1", available=True)
        self.registry.assign("rdr_1", "ord_1")
        self.results = Counter[str]()
        self.live_s = self.samples = self.withdrawn_while_seen = 0
        self.off_m: list[float] = []
        self.sent_at_ms = began_ms

    def send(self, packet: Packet) -> None:
        """A fix arrives."""
        self.sent_at_ms = self.clock.now_ms()
        drop = self.pipeline.process_fix("rdr_1", packet.fix, self.sent_at_ms, packet.sid)
        if packet.sid == RIDE:
            self.results["used" if drop is None else drop.value] += 1

    async def pass_second(self, true_fix: Fix, *, is_online: bool) -> None:
        """A second passes: answers to pings, the sweep, a flush, and the engine's check."""
        self.clock.advance(1_000)
        now_ms = self.clock.now_ms()
        if is_online and now_ms % PONG_EVERY_MS < 1_000:
            self.sent_at_ms = now_ms
            self.registry.observe("rdr_1", now_ms)
        self.pipeline.sweep(now_ms)
        while len(self.writer):
            await self.writer.flush()
        self._sample(true_fix)
        if now_ms % check_every_ms(OfferPolicy()) < 1_000:
            stored = RiderPresence(position=self.sink.position, last=self.sink.presence)
            silent_ms = now_ms - stored.seen_at - PRESENCE_LAG_MS
            was_seen = now_ms - self.sent_at_ms < SEEN_WITHIN_MS
            self.withdrawn_while_seen += silent_ms >= SEEN_WITHIN_MS and was_seen

    def _sample(self, true_fix: Fix) -> None:
        self.samples += 1
        shown = self.pipeline.last_position("rdr_1")
        if shown is not None and shown.freshness == "live":
            self.live_s += 1
            here = Place(lat=true_fix.lat, lng=true_fix.lng)
            self.off_m.append(distance_m(shown.position, here))


async def ride(drive: Drive, packets: Sequence[Packet]) -> PhoneReplay:
    """Send the packets in their time; the phone is online from one packet to the next."""
    run = PhoneReplay(packets[0].at_ms)
    waiting, at = list(packets), 0
    for now_ms in range(packets[0].at_ms, packets[-1].at_ms + 1_000, 1_000):
        while waiting and waiting[0].at_ms <= now_ms:
            run.send(waiting.pop(0))
        while at + 1 < len(drive.fixes) and _ms(drive.fixes[at + 1]) <= now_ms:
            at += 1
        is_tunnel = bool(waiting) and waiting[0].at_ms - _ms(waiting[0].fix) > RULES.fresh_ms
        is_offline = is_tunnel and waiting[0].fix in drive.fixes
        await run.pass_second(drive.fixes[at], is_online=not is_offline)
    return run


def figures_of(rides: Sequence[PhoneReplay], drives: Sequence[Drive]) -> dict[str, Any]:
    """Shares over all rides of one kind of phone. Units: shares, metres."""
    results = sum((each.results for each in rides), Counter[str]())
    off_m = sorted(metres for each in rides for metres in each.off_m)
    true_places = sum(len({(fix.lat, fix.lng) for fix in drive.fixes}) for drive in drives)
    return {
        "used": round(results["used"] / results.total(), 4),
        "teleports": results["teleport"],
        "live": round(sum(each.live_s for each in rides) / sum(each.samples for each in rides), 4),
        "off_m_p99": round(off_m[int(len(off_m) * 0.99)], 1) if off_m else None,
        "in_trail": round(sum(len(each.sink.trail) for each in rides) / true_places, 4),
        "withdrawn_while_seen": sum(each.withdrawn_while_seen for each in rides),
    }


def to_drive(trace: Sequence[TracePoint], rng: random.Random) -> Drive:
    """The true fixes of a trace."""
    return Drive(fixes_of(trace, rng), [point.is_driving for point in trace])


async def measure(drives: Sequence[Drive], seed: int) -> dict[str, dict[str, Any]]:
    """The figures of each kind of phone."""
    figures: dict[str, dict[str, Any]] = {}
    for kind, phone in PHONES.items():
        rng = random.Random(f"{seed}/{kind}")
        rides = [await ride(drive, phone(drive, rng)) for drive in drives]
        figures[kind] = figures_of(rides, drives)
    return figures


def is_good(figures: dict[str, dict[str, Any]]) -> bool:
    """Whether no rider who was there lost its order, and no honest fix was refused as a jump."""
    jumps = max(each["teleports"] for each in figures.values())
    return jumps == 0 and not any(each["withdrawn_while_seen"] for each in figures.values())


def main() -> None:
    """Measure and print the line; exit 1 where an order was lost or a true fix was a jump."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of GOAL's archive")
    parser.add_argument("--every", type=int, default=1, help="only every n-th trace")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    traces = [trace for trace in read_traces(given.traces) if len(trace) > 1][:: given.every]
    drives = [to_drive(trace, rng) for trace in traces]
    figures = asyncio.run(measure(drives, given.seed))
    result = "goal" if is_good(figures) else "missed"
    parameters = {"every": given.every, "seed": given.seed, "traces": len(drives)}
    print_result("phones", parameters, {**figures, "result": result})
    raise SystemExit(result == "missed")


if __name__ == "__main__":
    main()
