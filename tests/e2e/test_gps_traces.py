"""Real traces of delivery agents, driven through a running server under their customers' eyes."""

import asyncio
import math
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import pytest_asyncio

from bench.common.client import SocketClient
from bench.common.harness import run_limited, running_server
from bench.common.scenario import (
    LAT,
    LNG,
    BenchOrder,
    Person,
    Scenario,
)
from bench.common.traces import ARCHIVE, TracePoint, read_traces
from tests.waiting import Until

# The folder is found beside this repository, or named.
FOLDER = Path(os.environ.get("REEYO_TRACES") or Path(__file__).parents[3] / "shared/data/goal")
SEED = 20261121
TRACES = 30
METRES_PER_DEGREE = 111_195.1
# Riders begin within so much of their shop, where they are offered its orders.
START_M = 1_200.0
JUMP_M = 3_000.0
# Source: tracking design, at most one in 200 true fixes is refused, 99 of 100 planted jumps are.
FALSE_FLAGS_MAX, JUMPS_FLAGGED_MIN = 0.005, 0.99


class Fix(NamedTuple):
    """One fix of a trace, set down in Douala. Units: degrees, Unix milliseconds, metres."""

    lat: float
    lng: float
    ts: int
    accuracy: float

    def moved(self, metres: float, bearing: float) -> "Fix":
        """The same fix, so far away."""
        return self._replace(
            lat=self.lat + metres * math.cos(bearing) / METRES_PER_DEGREE,
            lng=self.lng + metres * math.sin(bearing) / METRES_PER_DEGREE,
        )


def place_trace(steps: Sequence[TracePoint], rng: random.Random, now_ms: int) -> list[Fix]:
    """A trace that begins somewhere near the shop and ends now, at its own pace."""
    first, last = steps[0], steps[-1]
    begin = Fix(LAT, LNG, 0, 0.0).moved(rng.uniform(0, START_M), rng.uniform(0, math.tau))
    east = METRES_PER_DEGREE * math.cos(math.radians(LAT))
    return [
        Fix(
            lat=begin.lat + (step.y_m - first.y_m) / METRES_PER_DEGREE,
            lng=begin.lng + (step.x_m - first.x_m) / east,
            ts=now_ms - round((last.at_s - step.at_s) * 1000),
            accuracy=round(rng.uniform(4, 15), 1),
        )
        for step in steps
    ]


@pytest.fixture(scope="module")
def traces() -> list[list[Fix]]:
    """Some of the traces, the same every time."""
    if not (FOLDER / ARCHIVE).is_file():
        pytest.skip(f"no {ARCHIVE} in {FOLDER}: name its folder in REEYO_TRACES")
    rng = random.Random(SEED)
    chosen = rng.sample(list(read_traces(FOLDER)), TRACES)
    now_ms = int(time.time() * 1000)
    return [place_trace(steps, rng, now_ms) for steps in chosen]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scenario(
    traces: list[list[Fix]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scenario]:
    """One shop, on a server that counts no requests: a trace of minutes is told in seconds."""
    async with running_server(tmp_path_factory.mktemp("traces")) as site:
        opened = Scenario(site, SEED)
        await opened.add_shop(0, LAT, LNG)
        yield opened
        opened.disconnect_all()


class TracedRider:
    """A rider on his trace, and what the customer of his order sees of him."""

    def __init__(self, job: BenchOrder, trace: Sequence[Fix]) -> None:
        self.rider: Person = job.assigned_rider
        self.trace = trace
        self.seen_positions: list[dict[str, Any]] = []
        # Each fix as it was said, with the reason for which it was dropped, or None.
        self.answers: list[tuple[Fix, str | None]] = []
        customer: SocketClient = job.customer.socket
        customer.on_position = self._on_position

    def _on_position(self, packet: bytes) -> None:
        self.seen_positions.append(orjson.loads(packet[packet.index(b"[") :])[1])

    async def report(self, fixes: Sequence[Fix]) -> None:
        """Say each fix and wait for the server's word on it."""
        for fix in fixes:
            self.rider.fix_count += 1
            said = {**fix._asdict(), "seq": self.rider.fix_count}
            answer = await self.rider.socket.call("location_update", said)
            self.answers.append((fix, answer.get("dropped")))

    @property
    def accepted_fixes(self) -> list[Fix]:
        """The fixes that the server took."""
        return [fix for fix, dropped in self.answers if dropped is None]

    def has_shown_last_fix(self) -> bool:
        """Whether the customer has seen the last fix that was taken."""
        return (
            bool(self.seen_positions)
            and position_key(self.seen_positions[-1]) == self.accepted_fixes[-1][:3]
        )

    def seen_fix_numbers(self) -> list[int]:
        """Where each position that was seen stands among the fixes that were taken."""
        at = {fix[:3]: number for number, fix in enumerate(self.accepted_fixes)}
        return [at[position_key(position)] for position in self.seen_positions]


def position_key(position: dict[str, Any]) -> tuple[float, float, int]:
    """Where and when a customer saw a rider."""
    return position["location"]["lat"], position["location"]["lng"], position["ts"]


class TraceWithJumps(NamedTuple):
    """A trace with jumps in it."""

    fixes: list[Fix]
    jumps: set[Fix]


def with_jumps(fixes: Sequence[Fix], rng: random.Random) -> TraceWithJumps:
    """The same fixes, every ninth of them far away from where it was."""
    jumps = {
        at: fixes[at].moved(JUMP_M, rng.uniform(0, math.tau)) for at in range(4, len(fixes), 9)
    }
    return TraceWithJumps([jumps.get(at, fix) for at, fix in enumerate(fixes)], set(jumps.values()))


async def start_deliveries(scenario: Scenario, traces: Sequence[list[Fix]]) -> list[TracedRider]:
    """Give every trace a rider with an order, and the order a customer who watches."""
    numbers = range(len(scenario.riders), len(scenario.riders) + len(traces))
    trace_of = {f"rdr_{number}": trace for number, trace in zip(numbers, traces, strict=True)}
    pairs = [
        partial(_start_delivery, scenario, number, trace_of[f"rdr_{number}"][0])
        for number in numbers
    ]
    jobs = await run_limited(4, pairs)
    # Whoever was offered an order carries it; his is the trace.
    return [TracedRider(job, trace_of[job.assigned_rider.identity[1]]) for job in jobs]


async def _start_delivery(scenario: Scenario, number: int, start: Fix) -> BenchOrder:
    await scenario.add_customer(number)
    await scenario.add_rider(number, start.lat, start.lng, start.ts)
    customer = scenario.customers[number]
    order = await scenario.site.request(
        "POST", "/orders", customer.identity, scenario.order_body(number)
    )
    job = scenario.add_order(order["orderId"], number)
    await scenario.assign(job)
    return job


async def wait_until_shown(riders: Sequence[TracedRider], until: Until) -> None:
    """Wait until every customer has seen the end."""
    await until.true(lambda: all(journey.has_shown_last_fix() for journey in riders))


@pytest.mark.slow
async def test_a_real_trace_is_shown_in_order(
    scenario: Scenario, traces: list[list[Fix]], until: Until
) -> None:
    """Of real fixes at most one in 200 is taken for a jump; customers see the others in order."""
    journeys = await start_deliveries(scenario, traces)

    await asyncio.gather(*(journey.report(journey.trace[1:]) for journey in journeys))
    await wait_until_shown(journeys, until)

    words = Counter(word for journey in journeys for _, word in journey.answers)
    assert words.total() == sum(len(trace) - 1 for trace in traces)
    assert words["teleport"] <= FALSE_FLAGS_MAX * words.total(), words
    assert set(words) <= {None, "teleport"}, words
    for journey in journeys:
        order = journey.seen_fix_numbers()
        assert order == sorted(set(order)), "a customer saw a rider go back"


@pytest.mark.slow
async def test_a_jump_is_not_shown(
    scenario: Scenario, traces: list[list[Fix]], until: Until
) -> None:
    """Of single fixes 3 km away 99 in 100 are refused, and the way goes on behind each of them."""
    rng = random.Random(SEED)
    journeys = await start_deliveries(scenario, traces)
    ways = [with_jumps(journey.trace[1:], rng) for journey in journeys]

    await asyncio.gather(*(j.report(way.fixes) for j, way in zip(journeys, ways, strict=True)))
    await wait_until_shown(journeys, until)

    of_jumps, of_others = Counter[str | None](), Counter[str | None]()
    for journey, way in zip(journeys, ways, strict=True):
        of_jumps += Counter(word for fix, word in journey.answers if fix in way.jumps)
        of_others += Counter(word for fix, word in journey.answers if fix not in way.jumps)
    assert of_jumps.total() >= TRACES * 7
    assert of_jumps["teleport"] >= JUMPS_FLAGGED_MIN * of_jumps.total(), of_jumps
    assert of_others["teleport"] <= FALSE_FLAGS_MAX * of_others.total(), of_others
    for journey in journeys:
        # A position that the server had refused would not be found among those it took.
        order = journey.seen_fix_numbers()
        assert order == sorted(set(order)), "a customer saw a rider go back"
