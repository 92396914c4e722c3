"""What the demo counts and tells."""

import pytest

from city.actors.admin import TrialBalance
from city.demo.counters import SAMPLE_MAX, Counters, DurationSample
from city.demo.report import StatusLine, Summary
from city.model.seeded_random import seeded_random

GOOD = TrialBalance(total=0, accounts=12, entries=345)


def make_summary(
    books: TrialBalance | None = GOOD, *, stopped: bool = True, trouble: str | None = None
) -> Summary:
    tally = Counters()
    tally.count("orders_placed", 3)
    tally.count_error("rider", "accept_delivery", "offer_taken")
    tally.count_error("vendor", "accept_order", "internal")
    tally.record_duration("command_ack", 12.34)
    return Summary(
        counters=tally,
        elapsed_s=30.0,
        stopped_s=1.2,
        trial_balance=books,
        has_server_stopped_well=stopped,
        failure=trouble,
    )


def test_only_balanced_books_are_good() -> None:
    """A run is good if the books were read and sum to nought, and all ended by itself."""
    assert make_summary().is_good
    assert not make_summary(None).is_good
    assert not make_summary(TrialBalance(total=1, accounts=1, entries=1)).is_good
    assert not make_summary(stopped=False).is_good
    assert not make_summary(trouble="the server ended by itself").is_good


def test_the_summary_tells_everything() -> None:
    """Counts, lost races, faults by code, durations and the books stand in the summary."""
    text = make_summary().text()
    for part in (
        "orders_placed             3",
        "lost races: rider.accept_delivery:offer_taken 1",
        "errors: vendor.accept_order:internal 1",
        "command_ack",
        "total 0 over 12 accounts and 345 entries; the ledger balances",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (make_summary(None), "could not be read"),
        (make_summary(TrialBalance(7, 1, 1)), "DOES NOT BALANCE"),
        (make_summary(stopped=False), "did not stop by itself"),
        (make_summary(trouble="fire"), "trouble: fire"),
    ],
)
def test_what_went_wrong_is_said(summary: Summary, said: str) -> None:
    """No bad end is silent."""
    assert said in summary.text()
    assert summary.as_json()["ok"] is False


def test_facts_are_for_machines() -> None:
    """The JSON has the books, the counts and the errors."""
    facts = make_summary().as_json()
    assert facts["trialBalance"] == {"total": 0, "accounts": 12, "entries": 345}
    assert facts["happened"] == {"orders_placed": 3}
    assert facts["durationsMs"]["command_ack"] == {"count": 1, "p50": 12.3, "p99": 12.3}


def test_the_status_line_tells_rates() -> None:
    """Fixes are told per second since the line before."""
    tally = Counters()
    pulse = StatusLine(tally, 100.0)
    tally.count("fixes_sent", 50)
    assert "fixes 25/s" in pulse.render(102.0, 100.0)
    tally.count("fixes_sent", 10)
    assert "fixes 5/s" in pulse.render(104.0, 100.0)


def test_samples_stay_bounded_and_fair() -> None:
    """Of many durations a bounded sample keeps the middle."""
    sample = DurationSample(seeded_random("sample"))
    for value in range(50_000):
        sample.add(value)
    assert len(sample.values) == SAMPLE_MAX
    assert sample.seen == 50_000
    assert abs((sample.percentile(0.5) or 0) - 25_000) < 2_000
    assert DurationSample(seeded_random("empty")).percentile(0.5) is None
