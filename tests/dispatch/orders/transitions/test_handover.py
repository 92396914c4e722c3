"""Handover: what a completed delivery keeps of cash, proof and position, and what is raised."""

import pytest

from dispatch.model import (
    DeliveryProof,
    DispatchState,
    OrderStatus,
    PaymentState,
    Position,
    PositionEvidence,
)
from dispatch.orders.transitions.handover import Handover, HandoverPolicy
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.wire import commands
from tests.dispatch.orders.transitions.transition_requests import NOW, order_at, request
from tests.factories import BALI, a_cash_payment, an_order

# Source: a degree of latitude on a sphere of 6371 km.
M_PER_LAT_DEG = 111_195


@pytest.mark.parametrize(("cash", "kinds"), [(None, []), (11_500, []), (9_000, ["cash_differs"])])
def test_cash_that_differs_is_recorded_and_raised(cash: int | None, kinds: list[str]):
    """The order keeps what was collected; operators are alerted where it is not the price."""
    order = an_order(
        status=OrderStatus.IN_TRANSIT, state=DispatchState.PICKED_UP, payment=a_cash_payment()
    )
    handover = Handover(commands.CompleteDelivery(order_id="ord_1", cash_collected=cash))
    step = decide_transition(order, request("complete_delivery", "rider", input=handover))

    assert step.order.payment.state is PaymentState.COLLECTED
    assert step.order.payment.collected == (order.pricing.total if cash is None else cash)
    assert [alert.kind for alert in step.alerts] == kinds


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, None),
        ("", None),
        ("left with the guard", DeliveryProof(kind="NOTE", note="left with the guard")),
        (commands.Proof(kind="PIN", pin="0042"), DeliveryProof(kind="PIN", pin="0042")),
        (
            commands.Proof(kind="SIGNATURE", upload_id="upl_1"),
            DeliveryProof(kind="SIGNATURE", upload_id="upl_1"),
        ),
        (commands.Proof(kind="BARCODE", code="4711"), DeliveryProof(kind="BARCODE", code="4711")),
    ],
)
def test_the_proof_is_kept_with_the_delivery(
    sent: commands.Proof | str | None, kept: DeliveryProof | None
):
    """What the rider sends is in the order that is delivered; a text is a note."""
    command = commands.CompleteDelivery(order_id="ord_1", proof=sent)
    order = order_at("IN_TRANSIT", "AT_DROPOFF")
    step = decide_transition(order, request("complete_delivery", "rider", input=Handover(command)))

    assert (step.order.status, step.order.proof) == (OrderStatus.DELIVERED, kept)


def position_at(metres: float, accuracy: float | None = None) -> Position:
    """A position so far north of the dropoff, received seven seconds ago."""
    return Position(
        lat=BALI.lat + metres / M_PER_LAT_DEG,
        lng=BALI.lng,
        ts=NOW,
        received_at=NOW - 7_000,
        accuracy=accuracy,
    )


@pytest.mark.parametrize(
    ("metres", "accuracy", "kinds"),
    [
        (0, None, []),
        (499, None, []),
        (2_900, None, ["completed_far"]),
        (2_900, 2_000, ["completed_far"]),
        # A coarse position may be at the door.
        (2_900, 2_500, []),
    ],
)
def test_a_handover_far_from_the_door_is_raised(
    metres: int, accuracy: float | None, kinds: list[str]
):
    """The distance is kept beside the command; the delivery counts all the same."""
    command = commands.CompleteDelivery(order_id="ord_1")
    handover, position = Handover(command, HandoverPolicy(far_m=500)), position_at(metres, accuracy)
    step = decide_transition(
        order_at("IN_TRANSIT", "PICKED_UP"),
        request("complete_delivery", "rider", input=handover, position=position),
    )

    assert step.order.status is OrderStatus.DELIVERED
    assert step.order.dispatch.evidence == {
        "complete_delivery": PositionEvidence(distance_m=metres, age_ms=7_000, accuracy=accuracy)
    }
    assert [alert.kind for alert in step.alerts] == kinds


def test_without_a_position_there_is_no_evidence():
    """The delivery counts, and nothing is raised: nothing is known."""
    step = decide_transition(
        order_at("IN_TRANSIT", "AT_DROPOFF"), request("complete_delivery", "rider")
    )
    assert (step.order.dispatch.evidence, step.alerts) == ({}, ())


def test_a_handover_ends_what_worried():
    """A delivered order has no concerns, and the engine has nothing to check."""
    noted = decide_transition(
        order_at("IN_TRANSIT", "PICKED_UP"), request("note_concerns", "engine")
    ).order
    done = decide_transition(noted, request("complete_delivery", "rider")).order.dispatch

    assert list(noted.dispatch.concerns) == ["goods_silent"]
    assert (done.concerns, done.due_at_ms) == ({}, None)
