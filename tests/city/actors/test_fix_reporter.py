"""How a rider's app reports fixes: as often as asked, buffered without a connection."""

from dataclasses import replace

import pytest

from city.actors.city import City
from city.actors.fix_reporter import SILENCE_MAX_S, FixReporter
from city.actors.rider import Rider
from city.model.motion import TruePosition
from city.model.streets import to_metres
from tests.city.actors.running import running, wait_until
from tests.city.fake_server import FakeServer


class StandIn:
    """A position that a test sets."""

    def __init__(self) -> None:
        self.point = (0.0, 0.0)

    def true_position(self) -> TruePosition:
        return TruePosition(self.point, 0.0, 0.0)


def reporter_at(city: City, position: StandIn) -> FixReporter:
    socket = city.socket_client("RIDER", "rdr_1", lambda _name, _payload: None)
    return FixReporter(city, "rdr_1", socket, position.true_position, city.rng("reporter"))


async def test_fixes_of_a_standing_rider_are_skipped(city: City):
    """A rider who moved less than the policy's distance skips fixes, but is not silent for long."""
    position = StandIn()
    reporter = reporter_at(city, position)
    assert not reporter.may_skip(2.0)
    reporter.take_fix()
    reporter.apply_policy({"intervalMs": 15_000, "minDisplacementM": 50})
    assert reporter.may_skip(2.0)
    assert not reporter.may_skip(SILENCE_MAX_S)
    position.point = (51.0, 0.0)
    assert not reporter.may_skip(2.0)


@pytest.mark.parametrize(
    ("interval_ms", "interval_s"), [(2_000, 2.0), (15_000, SILENCE_MAX_S), (100, 1.0)]
)
async def test_the_interval_of_the_policy_is_bounded(
    city: City, interval_ms: int, interval_s: float
):
    """The reporting interval follows the policy, between one second and SILENCE_MAX_S."""
    reporter = reporter_at(city, StandIn())
    reporter.apply_policy({"intervalMs": interval_ms})
    assert reporter.interval_s == interval_s


@pytest.mark.slow
async def test_fixes_of_an_outage_are_sent_in_one_batch(city: City, fake_server: FakeServer):
    """Fixes made without a connection are sent in a batch afterwards, each number once."""
    city.behaviour = replace(
        city.behaviour, outage_chance=1.0, outage_median_s=60.0, duplicate_chance=0.0
    )
    rider = Rider(city, "rdr_1", to_metres(4.049, 9.705))
    rider.reporter.interval_s = 0.1
    async with running(rider.run()):
        await wait_until(lambda: fake_server.batches >= 2)
    numbers = [fix["seq"] for fix in fake_server.fixes["rdr_1"]]
    assert numbers == sorted(set(numbers))
    assert city.counters.counts["network_outages"] >= 2
