"""Rights of an order's parties, by role and by stage of the order."""

import pytest
from msgspec.structs import replace

from dispatch.model import Place
from dispatch.wire.rights import (
    TRAIL_SHOWN_MS,
    is_over,
    shows_address,
    shows_position,
    shows_trail,
)
from dispatch.wire.snapshots import order_snapshot
from tests.factories import an_order
from tests.handlers.permission_matrix import STAGES

CARRIED = {"assigned", "at pickup", "carried", "at the door"}
OVER = {"delivered", "settled", "rejected", "cancelled"}
AUDIENCES = ("user", "vendor", "rider", "ops")


@pytest.mark.parametrize("stage", STAGES)
def test_the_position_is_shown_while_the_rider_carries_the_order(stage: str):
    """From the acceptance to the door, and never before or after."""
    order = an_order(*STAGES[stage], rider="rdr_1")
    assert shows_position(order) is (stage in CARRIED)
    assert is_over(order) is (stage in OVER)


@pytest.mark.parametrize("stage", sorted(CARRIED))
def test_a_cancelled_order_shows_no_position(stage: str):
    """Its search keeps the state in which it was cancelled."""
    cancelled = an_order(STAGES["cancelled"][0], STAGES[stage][1], rider="rdr_1")
    assert not shows_position(cancelled)


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_the_trail_is_shown_for_two_hours_after_the_end(stage: str, audience: str):
    """To customer and vendor; riders and operators keep it."""
    ended_ms = 5_000_000
    order = an_order(*STAGES[stage], rider="rdr_1")
    order = replace(order, times={order.status.value: ended_ms}, updated_at=ended_ms)
    keeps = audience in ("rider", "ops") or stage not in OVER
    assert shows_trail(order, audience, ended_ms + TRAIL_SHOWN_MS)
    assert shows_trail(order, audience, ended_ms + TRAIL_SHOWN_MS + 1) is keeps


def test_the_time_of_the_delivery_counts_not_that_of_the_settlement():
    """A settlement or rating afterwards does not show the trail for longer."""
    order = an_order(*STAGES["settled"], rider="rdr_1")
    order = replace(order, times={"DELIVERED": 1, "FUNDS_DISTRIBUTED": 9}, updated_at=10**9)
    assert not shows_trail(order, "user", TRAIL_SHOWN_MS + 2)


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_address_and_notes_are_shown_while_they_are_needed(stage: str, audience: str):
    """Afterwards vendor and rider see the part of the town alone."""
    place = Place(lat=4.061234, lng=9.712345, address="Rue 1.234, blue door")
    order = replace(an_order(*STAGES[stage], rider="rdr_1"), dropoff=place, notes="ring twice")
    shown = order_snapshot(order, audience)
    is_whole = audience in ("user", "ops") or stage not in OVER
    assert shows_address(order, audience) is is_whole
    expected = (
        {"lat": 4.061234, "lng": 9.712345, "address": "Rue 1.234, blue door"}
        if is_whole
        else {"lat": 4.06, "lng": 9.71}
    )
    assert shown["locations"]["dropoff"] == expected
    assert ("notes" in shown) is is_whole
