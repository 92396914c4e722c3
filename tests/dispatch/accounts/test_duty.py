"""Duty: who is not approved neither takes orders nor opens."""

import pytest

from dispatch.accounts.duty import Duty
from dispatch.accounts.people import Person, register_person
from dispatch.accounts.standing import Standing, StandingRules
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.riders.store import Riders
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.client import DynamoTable

pytestmark = pytest.mark.engines


@pytest.fixture
def duty(table: DynamoTable, clock: ManualClock) -> Duty:
    return Duty(table, StandingRules(), clock)


async def register(table: DynamoTable, user_type: OwnerType, standing: Standing) -> None:
    person = Person(person_id="x_1", user_type=user_type, standing=standing, reason="new")
    await table.transact([register_person(person, 1)])


@pytest.mark.parametrize("standing", sorted(set(Standing) - {Standing.APPROVED}))
async def test_a_rider_who_is_not_approved_stays_off_duty(
    duty: Duty, table: DynamoTable, clock: ManualClock, standing: Standing
):
    """Going off duty is always allowed."""
    await register(table, "RIDER", standing)
    with pytest.raises(Refused) as refused:
        await duty.set_rider_available("x_1", available=True)
    assert refused.value.code is Refusal.NOT_APPROVED
    assert refused.value.details == {"standing": standing.value, "reason": "new"}
    await duty.set_rider_available("x_1", available=False)
    assert not (await Riders(table, clock).workload("x_1")).available


@pytest.mark.parametrize("standing", sorted(set(Standing) - {Standing.APPROVED}))
async def test_a_vendor_who_is_not_approved_stays_closed(
    duty: Duty, table: DynamoTable, clock: ManualClock, standing: Standing
):
    """Closing is always allowed."""
    await register(table, "VENDOR", standing)
    with pytest.raises(Refused) as refused:
        await duty.set_vendor_online("x_1", online=True)
    assert refused.value.code is Refusal.NOT_APPROVED
    await duty.set_vendor_online("x_1", online=False)
    vendor = await Catalogue(table, clock).vendor("x_1")
    assert vendor is not None
    assert not vendor.online


@pytest.mark.parametrize("registered", [("RIDER", "VENDOR"), ()])
async def test_approved_people_take_part(
    duty: Duty, table: DynamoTable, clock: ManualClock, registered: tuple[OwnerType, ...]
):
    """Those approved here, and those known only from the company's own tokens."""
    for user_type in registered:
        await register(table, user_type, Standing.APPROVED)
    await duty.set_rider_available("x_1", available=True, until_ms=9_000)
    await duty.set_vendor_online("x_1", online=True)
    workload = await Riders(table, clock).workload("x_1")
    assert (workload.available, workload.until_ms) == (True, 9_000)
    vendor = await Catalogue(table, clock).vendor("x_1")
    assert vendor is not None
    assert vendor.online
