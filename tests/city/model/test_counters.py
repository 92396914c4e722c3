"""Counters of the simulated city."""

from city.model.counters import SAMPLE_MAX, Counters, DurationSample
from city.model.seeded_random import seeded_random


def test_errors_are_counted_by_role_action_and_code():
    """Equal errors share a key, and `errors_total` is the number of all."""
    counters = Counters()
    for code in ("offer_taken", "offer_taken", "internal"):
        counters.count_error("rider", "accept_delivery", code)
    assert counters.errors == {
        "rider.accept_delivery:offer_taken": 2,
        "rider.accept_delivery:internal": 1,
    }
    assert counters.errors_total == 3


def test_durations_have_percentiles_by_kind():
    """Each kind of duration has its count, median and 99th percentile, rounded to 0.1 ms."""
    counters = Counters()
    for milliseconds in (1.04, 2.0, 30.0):
        counters.record_duration("ack", milliseconds)
    counters.record_duration("http", 5.0)
    assert counters.durations() == {
        "ack": {"count": 3, "p50": 2.0, "p99": 30.0},
        "http": {"count": 1, "p50": 5.0, "p99": 5.0},
    }


def test_samples_are_bounded_and_unbiased():
    """Of 50,000 durations SAMPLE_MAX are kept, and their median is that of all within 4 %."""
    sample = DurationSample(seeded_random("sample"))
    for value in range(50_000):
        sample.add(value)
    assert len(sample.values) == SAMPLE_MAX
    assert sample.seen == 50_000
    assert abs((sample.percentile(0.5) or 0) - 25_000) < 2_000
    assert DurationSample(seeded_random("empty")).percentile(0.5) is None
