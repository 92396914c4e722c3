"""The demo's status line and summary."""

import pytest

from city.actors.admin import TrialBalance
from city.demo.report import StatusLine, Summary
from city.model.counters import Counters

GOOD = TrialBalance(total=0, accounts=12, entries=345)


def make_summary(
    trial_balance: TrialBalance | None = GOOD, *, is_clean: bool = True, failure: str | None = None
) -> Summary:
    counters = Counters()
    counters.count("orders_placed", 3)
    counters.count_error("rider", "accept_delivery", "offer_taken")
    counters.count_error("vendor", "accept_order", "internal")
    counters.record_duration("command_ack", 12.34)
    return Summary(
        counters=counters,
        elapsed_s=30.0,
        stopped_s=1.2,
        trial_balance=trial_balance,
        has_server_stopped_cleanly=is_clean,
        failure=failure,
    )


def test_a_run_is_good_if_the_ledger_balances() -> None:
    """A run is good if the ledger was read and sums to zero, and the server stopped by itself."""
    assert make_summary().is_good
    assert not make_summary(None).is_good
    assert not make_summary(TrialBalance(total=1, accounts=1, entries=1)).is_good
    assert not make_summary(is_clean=False).is_good
    assert not make_summary(failure="the server ended by itself").is_good


def test_the_summary_has_counts_errors_durations_and_the_ledger() -> None:
    """Counts, expected refusals, errors by code, durations and the trial balance are listed."""
    text = make_summary().text()
    for part in (
        "orders_placed             3",
        "expected refusals: rider.accept_delivery:offer_taken 1",
        "errors: vendor.accept_order:internal 1",
        "command_ack",
        "total 0 over 12 accounts and 345 entries; the ledger balances",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        (make_summary(None), "could not be read"),
        (make_summary(TrialBalance(7, 1, 1)), "DOES NOT BALANCE"),
        (make_summary(is_clean=False), "did not stop in time"),
        (make_summary(failure="fire"), "failure: fire"),
    ],
)
def test_every_failure_has_its_line(summary: Summary, message: str) -> None:
    """Each way to fail has a line in the summary, and is not ok in the JSON."""
    assert message in summary.text()
    assert summary.as_json()["ok"] is False


def test_the_json_has_the_same_facts() -> None:
    """The JSON has the trial balance, the counts, the errors and the durations."""
    facts = make_summary().as_json()
    assert facts["trialBalance"] == {"total": 0, "accounts": 12, "entries": 345}
    assert facts["counts"] == {"orders_placed": 3}
    assert facts["errors"]["vendor.accept_order:internal"] == 1
    assert facts["durationsMs"]["command_ack"] == {"count": 1, "p50": 12.3, "p99": 12.3}


def test_the_status_line_has_rates_since_the_last_one() -> None:
    """Fixes are shown per second since the previous line."""
    counters = Counters()
    status = StatusLine(counters, 100.0)
    counters.count("fixes_sent", 50)
    assert "fixes 25/s" in status.render(102.0, 100.0)
    counters.count("fixes_sent", 10)
    assert "fixes 5/s" in status.render(104.0, 100.0)
