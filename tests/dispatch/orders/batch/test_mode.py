"""Matching mode: policies decide, and with `auto` the backlog does, with hysteresis."""

import pytest

from dispatch.model import MatchingMode, OfferPolicy
from dispatch.orders.batch.mode import Backlog, ModeSwitch


def test_a_mode_does_not_flicker():
    """Between the two limits each service keeps its mode."""
    modes = ModeSwitch()
    modes.set_policy("FOOD", OfferPolicy(mode="auto"))
    seen = []
    for orders in (9, 11, 9, 6, 4, 6, 9):
        modes.update_backlog(Backlog(orders, 10))
        seen.append(modes.is_batched("FOOD"))

    assert seen == [False, True, True, True, False, False, False]


@pytest.mark.parametrize(("mode", "batched"), [("offers", False), ("batch", True), ("auto", True)])
def test_a_backlog_matters_only_for_auto(mode: MatchingMode, batched: bool):
    """`offers` and `batch` hold whatever the backlog."""
    modes = ModeSwitch()
    modes.set_policy("FOOD", OfferPolicy(mode=mode))
    modes.update_backlog(Backlog(20, 10))

    assert modes.is_batched("FOOD") is batched
    assert modes.batched_services == (frozenset({"FOOD"}) if batched else frozenset())
    assert modes.may_need_batch() is (mode != "offers")


def test_setting_a_policy_reports_a_changed_mode():
    """A service begins with `offers`; only another mode is a change."""
    modes = ModeSwitch()

    assert not modes.set_policy("FOOD", OfferPolicy())
    assert modes.set_policy("FOOD", OfferPolicy(mode="batch"))
    assert not modes.set_policy("FOOD", OfferPolicy(mode="batch", window_ms=20_000))


def test_a_service_without_a_policy_is_offered_one_by_one():
    """Nothing is batched before its policy was read."""
    assert not ModeSwitch().is_batched("MART")


def test_a_backlog_without_riders_counts_all_orders():
    """No division by zero where every rider is busy."""
    assert Backlog(7, 0).per_rider == 7
