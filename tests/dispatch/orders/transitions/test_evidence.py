"""Evidence: where a rider was last seen, kept beside each command that it sends at a stop."""

import pytest

from dispatch.model import Position, PositionEvidence
from dispatch.orders.transitions.state_machine import decide_transition
from tests.dispatch.orders.transitions.transition_requests import NOW, order_at, request
from tests.factories import AKWA, BALI

# Source: a degree of latitude on a sphere of 6371 km.
M_PER_LAT_DEG = 111_195


@pytest.mark.parametrize(
    ("status", "state", "name", "stop"),
    [
        ("READY", "ASSIGNED", "arrived_pickup", AKWA),
        ("READY", "AT_PICKUP", "pick_up", AKWA),
        ("IN_TRANSIT", "PICKED_UP", "arrived_dropoff", BALI),
        ("IN_TRANSIT", "AT_DROPOFF", "complete_delivery", BALI),
    ],
)
def test_each_command_at_a_stop_keeps_its_distance(status, state, name, stop):
    """The distance to its own stop, the age and the accuracy of the rider's last position."""
    position = Position(
        lat=stop.lat + 300 / M_PER_LAT_DEG,
        lng=stop.lng,
        ts=NOW,
        received_at=NOW - 4_000,
        accuracy=12.0,
    )
    step = decide_transition(order_at(status, state), request(name, "rider", position=position))

    assert step.order.dispatch.evidence == {
        name: PositionEvidence(distance_m=300, age_ms=4_000, accuracy=12.0)
    }


def test_without_a_position_nothing_is_kept():
    """The command counts all the same."""
    step = decide_transition(order_at("READY", "ASSIGNED"), request("arrived_pickup", "rider"))
    assert step.order.dispatch.evidence == {}


def test_the_evidence_of_earlier_commands_stays():
    """Each command has its own."""
    near = Position(lat=AKWA.lat, lng=AKWA.lng, ts=NOW, received_at=NOW)
    arrived = decide_transition(
        order_at("READY", "ASSIGNED"), request("arrived_pickup", "rider", position=near)
    )
    picked = decide_transition(arrived.order, request("pick_up", "rider", position=near))
    assert list(picked.order.dispatch.evidence) == ["arrived_pickup", "pick_up"]
