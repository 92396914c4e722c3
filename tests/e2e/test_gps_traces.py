"""Real GPS traces of delivery riders, replayed through a running server to watching customers."""

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

# The data's folder is outside the repository; REEYO_TRACES names another one.
FOLDER = Path(os.environ.get("REEYO_TRACES") or Path(__file__).parents[3] / "shared/data/goal")
SEED = 20261121
TRACES = 30
METRES_PER_DEGREE = 111_195.1
# Traces begin this near to the shop, so that their riders are offered its orders.
START_M = 1_200.0
JUMP_M = 3_000.0
# Source: docs/promises.md; at most 1 in 200 true fixes refused, 99 of 100 planted jumps are.
FALSE_FLAGS_MAX, JUMPS_FLAGGED_MIN = 0.005, 0.99


class Fix(NamedTuple):
    """One fix of a trace, moved to Douala. Units: degrees, Unix milliseconds, metres.

    The heading numbers it: customers get the time of arrival, and a standing agent's places repeat.
    """

    lat: float
    lng: float
    ts: int
    accuracy: float
    heading: float = 0.0

    def moved(self, metres: float, bearing: float) -> "Fix":
        """The same fix, moved by a distance in a direction. Units: metres, radians."""
        return self._replace(
            lat=self.lat + metres * math.cos(bearing) / METRES_PER_DEGREE,
            lng=self.lng + metres * math.sin(bearing) / METRES_PER_DEGREE,
        )


def place_trace(steps: Sequence[TracePoint], rng: random.Random, now_ms: int) -> list[Fix]:
    """A trace moved to begin near the shop and now, at its own pace.

    It is sent faster, by a phone whose clock runs fast: older fixes would be for the trail only.
    """
    first = steps[0]
    begin = Fix(LAT, LNG, 0, 0.0).moved(rng.uniform(0, START_M), rng.uniform(0, math.tau))
    east = METRES_PER_DEGREE * math.cos(math.radians(LAT))
    return [
        Fix(
            lat=begin.lat + (step.y_m - first.y_m) / METRES_PER_DEGREE,
            lng=begin.lng + (step.x_m - first.x_m) / east,
            ts=now_ms + round((step.at_s - first.at_s) * 1000),
            accuracy=round(rng.uniform(4, 15), 1),
            heading=number / 2,
        )
        for number, step in enumerate(steps)
    ]


@pytest.fixture(scope="module")
def traces() -> list[list[Fix]]:
    """A sample of the traces, the same every time."""
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
    """One shop on a server without rate limits, because minutes of a trace are sent in seconds."""
    async with running_server(tmp_path_factory.mktemp("traces")) as site:
        created = Scenario(site, SEED)
        await created.add_shop(0, LAT, LNG)
        yield created
        created.disconnect_all()


class TracedRider:
    """A rider that follows a trace, and the positions that its order's customer receives."""

    def __init__(self, job: BenchOrder, trace: Sequence[Fix]) -> None:
        self.rider: Person = job.assigned_rider
        self.trace = trace
        self.seen_positions: list[dict[str, Any]] = []
        # Each fix as it was sent, with the reason for which it was dropped, or None.
        self.answers: list[tuple[Fix, str | None]] = []
        customer: SocketClient = job.customer.socket
        customer.on_position = self._on_position

    def _on_position(self, packet: bytes) -> None:
        self.seen_positions.append(orjson.loads(packet[packet.index(b"[") :])[1])

    async def report(self, fixes: Sequence[Fix]) -> None:
        """Send each fix and wait for its acknowledgement."""
        for fix in fixes:
            self.rider.fix_count += 1
            payload = {**fix._asdict(), "seq": self.rider.fix_count}
            answer = await self.rider.socket.call("location_update", payload)
            self.answers.append((fix, answer.get("dropped")))

    @property
    def accepted_fixes(self) -> list[Fix]:
        """The fixes that the server accepted."""
        return [fix for fix, dropped in self.answers if dropped is None]

    def has_shown_last_fix(self) -> bool:
        """Whether the customer has received the last accepted fix."""
        return (
            bool(self.seen_positions)
            and self.seen_positions[-1]["heading"] == self.accepted_fixes[-1].heading
        )

    def seen_fix_numbers(self) -> list[int]:
        """The index of each received position among the accepted fixes."""
        number_of_fix = {fix.heading: number for number, fix in enumerate(self.accepted_fixes)}
        return [number_of_fix[position["heading"]] for position in self.seen_positions]


class TraceWithJumps(NamedTuple):
    """A trace with planted jumps."""

    fixes: list[Fix]
    jumps: set[Fix]


def with_jumps(fixes: Sequence[Fix], rng: random.Random) -> TraceWithJumps:
    """The same fixes, every ninth moved far away."""
    jumps = {
        at: fixes[at].moved(JUMP_M, rng.uniform(0, math.tau)) for at in range(4, len(fixes), 9)
    }
    return TraceWithJumps([jumps.get(at, fix) for at, fix in enumerate(fixes)], set(jumps.values()))


async def start_deliveries(scenario: Scenario, traces: Sequence[list[Fix]]) -> list[TracedRider]:
    """Give each trace a rider with an order, and each order a watching customer."""
    numbers = range(len(scenario.riders), len(scenario.riders) + len(traces))
    trace_of = {f"rdr_{number}": trace for number, trace in zip(numbers, traces, strict=True)}
    starts = [
        partial(_start_delivery, scenario, number, trace_of[f"rdr_{number}"][0])
        for number in numbers
    ]
    jobs = await run_limited(4, starts)
    # The rider who was offered an order carries it; it may be another one than planned.
    return [TracedRider(order, trace_of[order.assigned_rider.identity[1]]) for order in jobs]


async def _start_delivery(scenario: Scenario, number: int, start: Fix) -> BenchOrder:
    await scenario.add_customer(number)
    await scenario.add_rider(number, start.lat, start.lng, start.ts)
    customer = scenario.customers[number]
    order = await scenario.site.request(
        "POST", "/orders", customer.identity, scenario.order_body(number)
    )
    placed_order = scenario.add_order(order["orderId"], number)
    await scenario.assign(placed_order)
    return placed_order


async def wait_until_shown(riders: Sequence[TracedRider], until: Until) -> None:
    """Wait until every customer has received the last fix."""
    await until.true(lambda: all(rider.has_shown_last_fix() for rider in riders))


@pytest.mark.slow
async def test_a_real_trace_is_shown_in_order(
    scenario: Scenario, traces: list[list[Fix]], until: Until
) -> None:
    """At most 1 in 200 real fixes is refused as a jump; customers receive the rest in order."""
    riders = await start_deliveries(scenario, traces)

    await asyncio.gather(*(rider.report(rider.trace[1:]) for rider in riders))
    await wait_until_shown(riders, until)

    reasons = Counter(reason for rider in riders for _, reason in rider.answers)
    assert reasons.total() == sum(len(trace) - 1 for trace in traces)
    assert reasons["teleport"] <= FALSE_FLAGS_MAX * reasons.total(), reasons
    assert set(reasons) <= {None, "teleport"}, reasons
    for rider in riders:
        numbers = rider.seen_fix_numbers()
        assert numbers == sorted(set(numbers)), "a customer saw a rider go back"


@pytest.mark.slow
async def test_a_jump_is_not_shown(
    scenario: Scenario, traces: list[list[Fix]], until: Until
) -> None:
    """At least 99 in 100 single fixes 3 km away are refused, and the fixes after them are not."""
    rng = random.Random(SEED)
    riders = await start_deliveries(scenario, traces)
    planted = [with_jumps(rider.trace[1:], rng) for rider in riders]

    await asyncio.gather(
        *(
            rider.report(planted_trace.fixes)
            for rider, planted_trace in zip(riders, planted, strict=True)
        )
    )
    await wait_until_shown(riders, until)

    of_jumps, of_others = Counter[str | None](), Counter[str | None]()
    for rider, planted_trace in zip(riders, planted, strict=True):
        of_jumps += Counter(reason for fix, reason in rider.answers if fix in planted_trace.jumps)
        of_others += Counter(
            reason for fix, reason in rider.answers if fix not in planted_trace.jumps
        )
    assert of_jumps.total() >= TRACES * 7
    assert of_jumps["teleport"] >= JUMPS_FLAGGED_MIN * of_jumps.total(), of_jumps
    assert of_others["teleport"] <= FALSE_FLAGS_MAX * of_others.total(), of_others
    for rider in riders:
        # A refused position would not be found among the accepted fixes.
        numbers = rider.seen_fix_numbers()
        assert numbers == sorted(set(numbers)), "a customer saw a rider go back"
