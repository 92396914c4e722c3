"""The bench of settlements runs, and measures what it says; never how fast."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.engines.minimal_dynamodb_client import CONTENT_TYPE, AwsKeys, signed_headers
from bench.settle import Load, Size, measure_on_engine, missed_goals, run_on_fake

KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-1")
GOOD = {"lanes_per_s": 1_000, "lanes_attempts": 1.05, "lanes_failures": 0, "settle_to_raw": 0.85}


@pytest.mark.slow
def test_lanes_carry_what_one_item_cannot() -> None:
    """In virtual time, so the same on any machine: lanes tenfold, and without a second attempt."""
    many = run_on_fake(Load(150), 64, seed=1)
    one = run_on_fake(Load(40, shards=1), 64, seed=1)

    assert (many.failures, one.failures) == (0, 0)
    assert many.attempts <= 1.05
    assert 150 / many.elapsed_s > 1_000
    assert 40 / one.elapsed_s < 100


@pytest.mark.slow
def test_a_busy_vendor_is_carried_by_crowds() -> None:
    """One wallet takes one transaction after the other; together its orders go at least thrice."""
    together = run_on_fake(Load(60, vendors=1), 64, seed=1)
    alone = run_on_fake(Load(60, vendors=1, are_funds_known=False), 64, seed=1)

    assert together.attempts < 0.5
    assert alone.elapsed_s > 3 * together.elapsed_s


@pytest.mark.slow
def test_a_load_comes_again_from_its_seed() -> None:
    """Two runs of one seed take the same virtual time."""
    load = Load(20, processes=4)
    assert run_on_fake(load, 8, seed=3) == run_on_fake(load, 8, seed=3)


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, []),
        ({"lanes_per_s": 999}, ["lanes_per_s"]),
        ({"lanes_attempts": 1.06}, ["lanes_attempts"]),
        ({"lanes_failures": 1}, ["lanes_failures"]),
        ({"settle_to_raw": 0.84}, ["settle_to_raw"]),
    ],
)
def test_a_missed_goal_is_named(changed: dict[str, float], missed: list[str]) -> None:
    """Each goal by itself; a ratio of real time counts at full size alone."""
    figures: dict[str, object] = {**GOOD, **changed}
    assert missed_goals(figures, timed=True) == missed
    assert "settle_to_raw" not in missed_goals(figures, timed=False)


def test_the_lean_client_signs_as_the_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request at the same moment has the same signature."""
    at, body = datetime(2026, 11, 21, 16, 30, tzinfo=UTC), b'{"TableName":"t"}'
    ours = signed_headers(KEYS, "localhost:8000", "DynamoDB_20120810.GetItem", body, at)
    headers = {name: ours[name] for name in ("Content-Type", "X-Amz-Target")}
    request = AWSRequest("POST", "http://localhost:8000/", headers=headers, data=body)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=None))
    credentials = Credentials(KEYS.access_key, KEYS.secret_key)
    SigV4Auth(credentials, "dynamodb", KEYS.region).add_auth(request)

    assert ours["Content-Type"] == CONTENT_TYPE
    assert ours["Authorization"] == request.headers["Authorization"]


@pytest.mark.slow
@pytest.mark.engines
def test_both_clients_write_what_was_noted() -> None:
    """The smallest race on the embedded engine: all three tables take the same settlements."""
    figures = uvloop.run(measure_on_engine(Size(many=0, few=0, callers=0, rounds=1, each=1)))
    named = SimpleNamespace(**figures)

    assert min(named.settle_cpu_us, named.settle_raw_cpu_us, named.settle_lean_cpu_us) > 0
    assert named.settle_to_raw > 0
