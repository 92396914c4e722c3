"""Standing changes: what a suspension does with the orders of a rider and of a vendor."""

import pytest

from dispatch.accounts.standing import Standing
from dispatch.accounts.standing_decisions import StandingDecision
from dispatch.events.alerts import Alerts
from dispatch.ids import OrderId
from dispatch.orders.standing_changes import ALERT_EVERY_MS, StandingChanges, StandingLookups
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire import commands
from dispatch.wire.http.base import OwnerType
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


@pytest.fixture
def alerts(redis: RedisClients, scripts: Scripts) -> Alerts:
    return Alerts(redis, scripts)


@pytest.fixture
def changes(order_scenario: OrderScenario, alerts: Alerts) -> StandingChanges:
    lookups = StandingLookups(order_scenario.orders, order_scenario.riders, alerts)
    return StandingChanges(
        order_scenario.standing_decisions,
        order_scenario.order_service,
        lookups,
        order_scenario.clock,
    )


async def suspend(
    changes: StandingChanges, scenario: OrderScenario, user_type: OwnerType, person_id: str
) -> None:
    decision = StandingDecision(user_type, person_id, Standing.SUSPENDED, "fraud")
    await changes.change(scenario.caller("ops", "adm_1"), decision)


async def assigned_order(scenario: OrderScenario, *, picked_up: bool = False) -> OrderId:
    order_id = await scenario.place_order()
    await scenario.accept_order(order_id)
    await scenario.assign(order_id)
    if picked_up:
        vendor, rider = scenario.caller("vendor", "ven_1"), scenario.caller("rider", "rdr_1")
        service = scenario.order_service
        await service.arrived_pickup(rider, commands.ArrivedPickup(order_id=order_id))
        await service.order_ready(vendor, commands.OrderReady(order_id=order_id))
        await service.pick_up(rider, commands.PickUp(order_id=order_id))
    return order_id


async def test_an_order_before_the_pickup_is_searched_again(
    order_scenario: OrderScenario, changes: StandingChanges, alerts: Alerts
):
    """The rider carries nothing any more, and another one takes the order."""
    order_id = await assigned_order(order_scenario)
    await suspend(changes, order_scenario, "RIDER", "rdr_1")
    order = await order_scenario.order(order_id)
    assert (order.rider_id, order.dispatch and order.dispatch.state.value) == (None, "SEARCHING")
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()
    await order_scenario.assign(order_id, "rdr_2")
    assert await alerts.recent() == []


async def test_goods_in_hand_are_reported(
    order_scenario: OrderScenario, changes: StandingChanges, alerts: Alerts
):
    """The order stays with the rider; operators are told once, and again where they repeat it."""
    order_id = await assigned_order(order_scenario, picked_up=True)
    for _ in range(2):
        await suspend(changes, order_scenario, "RIDER", "rdr_1")
    order_scenario.clock.advance(ALERT_EVERY_MS)
    assert (await order_scenario.order(order_id)).rider_id == "rdr_1"
    told = [(each.kind, each.order_id, each.rider_id) for each in await alerts.recent()]
    assert told == [("suspended_with_goods", order_id, "rdr_1")]


async def test_an_order_of_another_rider_stays(
    order_scenario: OrderScenario, changes: StandingChanges
):
    """Only what the suspended rider carries is taken back."""
    order_id = await assigned_order(order_scenario)
    await suspend(changes, order_scenario, "RIDER", "rdr_2")
    assert (await order_scenario.order(order_id)).rider_id == "rdr_1"


async def test_open_orders_of_a_vendor_are_reported(
    order_scenario: OrderScenario, changes: StandingChanges, alerts: Alerts
):
    """Those that have ended are not."""
    open_id, ended_id = await order_scenario.place_order(), await order_scenario.place_order()
    await order_scenario.cancel_order(ended_id)
    await suspend(changes, order_scenario, "VENDOR", "ven_1")
    told = [(each.kind, each.order_id) for each in await alerts.recent()]
    assert told == [("vendor_suspended", open_id)]


@pytest.mark.parametrize("standing", [Standing.UNDER_REVIEW, Standing.APPROVED])
async def test_other_decisions_leave_orders_alone(
    order_scenario: OrderScenario, changes: StandingChanges, standing: Standing
):
    """A rider under review finishes what it carries."""
    order_id = await assigned_order(order_scenario)
    decision = StandingDecision("RIDER", "rdr_1", standing, "papers")
    await changes.change(order_scenario.caller("ops", "adm_1"), decision)
    assert (await order_scenario.order(order_id)).rider_id == "rdr_1"
