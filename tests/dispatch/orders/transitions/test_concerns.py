"""Concerns: each is raised once while it lasts, and again where it begins again."""

from dispatch.model import Order
from dispatch.orders.transitions.concerns import ConcernFacts
from dispatch.orders.transitions.context import Transition
from dispatch.orders.transitions.state_machine import decide_transition
from tests.dispatch.orders.transitions.transition_requests import NOW, order_at, request


def note(order: Order, now_ms: int, **messages: str) -> Transition:
    facts = ConcernFacts(messages, due_at_ms=now_ms + 5_000)
    return decide_transition(order, request("note_concerns", "engine", input=facts, now_ms=now_ms))


def test_a_concern_is_raised_once_for_each_episode():
    """While it lasts nothing changes; after it was over it is raised again."""
    first = note(order_at("IN_TRANSIT", "PICKED_UP"), NOW, goods_silent="silent for 60 s")
    same = note(first.order, NOW + 1, goods_silent="silent for 61 s")
    over = note(first.order, NOW + 2)
    again = note(over.order, NOW + 3, goods_silent="silent for 50 s")

    [alert] = first.alerts
    assert (alert.kind, alert.message, alert.ts) == ("goods_silent", "silent for 60 s", NOW)
    assert (alert.order_id, alert.rider_id) == ("ord_1", "rdr_1")
    assert (same.order, same.alerts) == (first.order, ())
    assert (over.order.dispatch.concerns, over.alerts) == ({}, ())
    assert [alert.message for alert in again.alerts] == ["silent for 50 s"]


def test_one_concern_leaves_the_other_as_it_is():
    """The second one is raised alone; the first keeps its beginning."""
    first = note(order_at("IN_TRANSIT", "AT_DROPOFF"), NOW, delivery_late="60 minutes")
    both = note(first.order, NOW + 9, delivery_late="61 minutes", goods_silent="silent")

    assert [alert.kind for alert in both.alerts] == ["goods_silent"]
    assert both.order.dispatch.concerns == {"delivery_late": NOW, "goods_silent": NOW + 9}
    assert both.order.dispatch.due_at_ms == NOW + 9 + 5_000
