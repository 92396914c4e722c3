"""Checks of standing in transitions: who may order, sell and carry when it is written."""

import asyncio

import pytest

from dispatch.accounts.standing import Standing, StandingRules
from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId, RiderId
from dispatch.orders.standing_checks import StandingChecks
from dispatch.wire.http.base import OwnerType, PaymentMethodName
from ledger.core.facts import TopUp
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines

NOT_ACTIVE = sorted(set(Standing) - {Standing.APPROVED})
# Orders in the race between an acceptance and a suspension. Source: chosen; either side wins some.
RACES = 24


def refusal_of(result: object) -> Refusal | None:
    assert not isinstance(result, Exception) or isinstance(result, Refused), result
    return result.code if isinstance(result, Refused) else None


@pytest.mark.parametrize("standing", NOT_ACTIVE)
@pytest.mark.parametrize("method", ["WALLET", "CASH", "MOBILE_MONEY"])
async def test_a_customer_in_bad_standing_orders_nothing(
    order_scenario: OrderScenario, standing: Standing, method: PaymentMethodName
):
    """By no payment method; the refusal has standing and reason."""
    await bring_to(order_scenario, "USER", "usr_1", standing)
    with pytest.raises(Refused) as refused:
        await order_scenario.place_order(method=method)
    assert refused.value.code is Refusal.NOT_APPROVED
    assert refused.value.details == {"standing": standing.value, "reason": "a test"}


@pytest.mark.parametrize("standing", NOT_ACTIVE)
async def test_a_vendor_in_bad_standing_gets_no_orders(
    order_scenario: OrderScenario, standing: Standing
):
    """To a customer it is closed, also where its profile still says that it is open."""
    await bring_to(order_scenario, "VENDOR", "ven_1", standing)
    with pytest.raises(Refused) as refused:
        await order_scenario.place_order()
    assert refused.value.code is Refusal.VENDOR_CLOSED
    await order_scenario.reopen_vendor()
    with pytest.raises(Refused) as refused:
        await order_scenario.place_order()
    assert refused.value.code is Refusal.VENDOR_CLOSED


@pytest.mark.parametrize("standing", NOT_ACTIVE)
async def test_a_rider_in_bad_standing_is_not_asked(
    order_scenario: OrderScenario, standing: Standing
):
    """The refusal names the rider, so that the search goes on with others."""
    await bring_to(order_scenario, "RIDER", "rdr_1", standing)
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    with pytest.raises(Refused) as refused:
        await order_scenario.make_offers(order_id, "rdr_2", "rdr_1")
    assert refused.value.code is Refusal.NOT_APPROVED
    assert refused.value.details is not None
    assert refused.value.details["riderId"] == "rdr_1"
    assert await order_scenario.make_offers(order_id, "rdr_2")


@pytest.mark.parametrize("standing", NOT_ACTIVE)
async def test_an_offer_cannot_be_accepted_any_more(
    order_scenario: OrderScenario, standing: Standing
):
    """The rider was in good standing when it was asked; the order stays for others."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1", "rdr_2")
    await bring_to(order_scenario, "RIDER", "rdr_1", standing)
    with pytest.raises(Refused) as refused:
        await order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    assert refused.value.code is Refusal.NOT_APPROVED
    await order_scenario.accept_delivery(order_id, "rdr_2", offers["rdr_2"])


async def test_a_suspension_cannot_race_with_an_acceptance(order_scenario: OrderScenario):
    """Both at once, many times: the rider wins only if its acceptance was written first.

    A rider that has accepted was in good standing at that write; once the suspension is written,
    it accepts nothing.
    """
    await order_scenario.ledger.post(TopUp("usr_1", 1_000_000, "sandbox", "pay_races"))
    spare_id = await new_order(order_scenario)
    for number in range(RACES):
        rider_id = f"rdr_race{number}"
        order_id = await new_order(order_scenario)
        offers = await order_scenario.make_offers(order_id, rider_id)

        async def accept(order=order_id, rider=rider_id, offer=offers[rider_id]) -> None:
            await order_scenario.accept_delivery(order, rider, offer)

        async def suspend(rider=rider_id, turns=number * 2) -> None:
            # A little later in each race, so that either side is first in some.
            for _ in range(turns):
                await asyncio.sleep(0)
            await order_scenario.set_standing("RIDER", rider, Standing.SUSPENDED)

        results = await asyncio.gather(accept(), suspend(), return_exceptions=True)
        order = await order_scenario.order(order_id)
        has_won = order.rider_id == rider_id
        codes = [refusal_of(result) for result in results]
        assert codes == [None if has_won else Refusal.NOT_APPROVED, None]
        with pytest.raises(Refused) as refused:
            await order_scenario.make_offers(spare_id, rider_id)
        assert refused.value.code is Refusal.NOT_APPROVED


async def new_order(order_scenario: OrderScenario) -> OrderId:
    order_id = await order_scenario.place_order(quantity=1)
    await order_scenario.accept_order(order_id)
    return order_id


async def bring_to(
    order_scenario: OrderScenario, user_type: OwnerType, person_id: str, standing: Standing
) -> None:
    """An operator brings a person to a standing, by the steps that are allowed."""
    before = {
        Standing.REJECTED: Standing.UNDER_REVIEW,
        Standing.PENDING: None,
    }.get(standing)
    if standing is Standing.PENDING:
        await order_scenario.register(user_type, person_id)
        return
    if before is not None:
        await order_scenario.set_standing(user_type, person_id, before)
    await order_scenario.set_standing(user_type, person_id, standing)


def test_a_refusal_of_a_rider_has_its_id():
    """With or without the item that the condition met."""
    extra = StandingChecks(StandingRules()).of_rider(RiderId("rdr_1"))
    assert extra.explain is not None
    for refused in (extra.refusal, extra.explain({"standing": "CLOSED", "reason": "left"})):
        assert refused.details is not None
        assert refused.details["riderId"] == "rdr_1"
