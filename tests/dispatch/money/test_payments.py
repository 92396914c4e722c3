"""Top-ups and order payments are booked when their provider confirms them, once."""

from typing import Any

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.payments import SANDBOX
from dispatch.wire import commands
from dispatch.wire.http.wallets import TopUp
from dispatch.wire.webhooks import PaymentEvent, PaymentReport
from ledger.core.facts import Adjustment, AdjustmentLeg
from ledger.records.wallet_status import set_wallet_status
from ledger.records.wallets import FROZEN
from tests.dispatch.money.conftest import MoneyScenario, customer, key

pytestmark = pytest.mark.engines

# What the customer of the scenario has at first.
BALANCE_XAF = 100_000


def payment_event(kind: str, about_id: str, **changes: Any) -> PaymentEvent:
    """An event about a top-up of 5,000; override one field and keep the rest."""
    fields: dict[str, Any] = {"payment_id": about_id, "amount": 5_000, "currency": "XAF"}
    return PaymentEvent(type=kind, data=PaymentReport(**{**fields, **changes}))


async def started_top_up(money: MoneyScenario) -> str:
    """The id of a top-up of 5,000 that its provider has not confirmed."""
    answer = await money.payments.top_up(customer(), TopUp(amount=5_000, provider="momo"))
    return answer["paymentId"]


async def balance(money: MoneyScenario) -> int:
    return (await money.wallet("USER", "usr_1"))[0]


async def test_the_sandbox_pays_before_the_answer(money: MoneyScenario):
    """The answer has the new balance, and a repeat does not pay again."""
    body = TopUp(amount=5_000, provider=SANDBOX)
    answers = [await money.payments.top_up(customer("fill"), body) for _ in range(2)]
    assert [each["status"] for each in answers] == ["SUCCESS", "SUCCESS"]
    assert answers[0]["paymentId"] == answers[1]["paymentId"]
    assert answers[0]["balance"] == await balance(money) == BALANCE_XAF + 5_000


async def test_another_provider_pays_by_its_event(money: MoneyScenario):
    """Pending until the event; the event, and a second one about the same payment, pay once."""
    payment_id = await started_top_up(money)
    assert await balance(money) == BALANCE_XAF
    event = payment_event("payment.succeeded", payment_id)
    for name in ("evt_1", "evt_1", "evt_2"):
        answer = await money.payments.handle_webhook_event("momo", event, key(name))
        assert answer["status"] == "SUCCESS"
    assert await balance(money) == BALANCE_XAF + 5_000


async def test_a_failed_payment_may_succeed_later(money: MoneyScenario):
    """A failure is kept, a success after it is paid, a failure after that changes nothing."""
    payment_id, handle = await started_top_up(money), money.payments.handle_webhook_event
    failed, succeeded = (
        payment_event(f"payment.{kind}", payment_id) for kind in ("failed", "succeeded")
    )
    states = [
        (await handle("momo", event, key(f"evt_{number}")))["status"]
        for number, event in enumerate((failed, succeeded, failed))
    ]
    assert states == ["FAILED", "SUCCESS", "SUCCESS"]
    assert await balance(money) == BALANCE_XAF + 5_000


@pytest.mark.parametrize(
    ("provider", "changes", "code"),
    [
        ("other", {}, Refusal.NOT_FOUND),
        ("momo", {"payment_id": "pay_unknown"}, Refusal.NOT_FOUND),
        ("momo", {"amount": 5_001}, Refusal.CONFLICT),
        ("momo", {"currency": "EUR"}, Refusal.MALFORMED),
    ],
)
async def test_an_event_that_does_not_match_pays_nothing(
    money: MoneyScenario, provider: str, changes: dict[str, Any], code: Refusal
):
    """Another provider, payment, amount or currency is refused."""
    payment_id = await started_top_up(money)
    event = payment_event("payment.succeeded", payment_id, **changes)
    with pytest.raises(Refused) as raised:
        await money.payments.handle_webhook_event(provider, event, key("evt_1"))
    assert raised.value.code is code
    assert await balance(money) == BALANCE_XAF


async def test_an_unknown_event_type_is_answered_and_ignored(money: MoneyScenario):
    """The answer names the type; nothing is paid."""
    event = payment_event("payment.delayed", await started_top_up(money))
    answer = await money.payments.handle_webhook_event("momo", event, key("evt_1"))
    assert answer == {"ignored": "payment.delayed"}
    assert await balance(money) == BALANCE_XAF


@pytest.mark.parametrize(
    ("provider", "sandbox", "webhooks"), [(SANDBOX, False, True), ("momo", True, False)]
)
async def test_a_provider_that_cannot_confirm_is_refused(
    money: MoneyScenario, *, provider: str, sandbox: bool, webhooks: bool
):
    """The sandbox needs --dev, any other provider verified webhooks."""
    service = money.payment_service(sandbox=sandbox, webhooks=webhooks)
    with pytest.raises(Refused) as raised:
        await service.top_up(customer(), TopUp(amount=5_000, provider=provider))
    assert raised.value.code is Refusal.SERVICE_DISABLED


@pytest.mark.parametrize(
    ("provider", "sandbox", "webhooks"), [(SANDBOX, True, False), ("momo", False, True)]
)
async def test_a_provider_that_can_confirm_is_accepted(
    money: MoneyScenario, *, provider: str, sandbox: bool, webhooks: bool
):
    """The sandbox of a developer's server, or a provider with verified webhooks, is asked."""
    service = money.payment_service(sandbox=sandbox, webhooks=webhooks)
    answer = await service.top_up(customer(), TopUp(amount=5_000, provider=provider))
    assert answer["provider"] == provider


async def test_the_sandbox_pays_a_placed_order_once(money: MoneyScenario):
    """Its payment is captured; paying it again changes nothing."""
    order_id = await money.orders.place_order(method="MOBILE_MONEY")
    order = await money.orders.orders.get(order_id)
    assert order is not None
    view = {
        "payment": {"provider": order.payment.provider, "paymentId": order.payment.payment_id},
        "pricing": {"total": order.pricing.total},
    }
    for _ in range(2):
        await money.payments.pay_by_sandbox(view)
    paid = await money.orders.orders.get(order_id)
    assert paid is not None
    assert paid.payment.state == "CAPTURED"


async def test_a_production_server_does_not_pay_by_sandbox(money: MoneyScenario):
    """Without the sandbox an order of it stays unpaid."""
    order_id = await money.orders.place_order(method="MOBILE_MONEY")
    view = {"payment": {"provider": SANDBOX, "paymentId": "pay_x"}, "pricing": {"total": 1}}
    await money.payment_service(sandbox=False, webhooks=True).pay_by_sandbox(view)
    order = await money.orders.orders.get(order_id)
    assert order is not None
    assert order.payment.state != "CAPTURED"


# Debts.


async def order_given_up(money: MoneyScenario) -> int:
    """A cash order that the customer refuses on the way; what the customer owes."""
    orders = money.orders
    order_id = await orders.place_order(method="CASH")
    await orders.accept_order(order_id)
    await orders.assign(order_id)
    vendor, rider = orders.caller("vendor", "ven_1"), orders.caller("rider", "rdr_1")
    service = orders.order_service
    await service.arrived_pickup(rider, commands.ArrivedPickup(order_id=order_id))
    await service.order_ready(vendor, commands.OrderReady(order_id=order_id))
    await service.pick_up(rider, commands.PickUp(order_id=order_id))
    command = commands.CancelOrder(order_id=order_id, reason="refused", fault="CUSTOMER")
    await service.cancel_order(orders.caller("ops", "adm_1"), command)
    return await debt(money)


async def debt(money: MoneyScenario) -> int:
    return (await money.statements.owner_balance("USER", "usr_1")).debt


async def test_a_debtor_pays_in_advance(money: MoneyScenario):
    """Cash is refused with the amount; a wallet and mobile money pay before anything is cooked."""
    owed = await order_given_up(money)
    assert owed == 9_500
    with pytest.raises(Refused) as refused:
        await money.orders.place_order(method="CASH")
    assert refused.value.code is Refusal.DEBT_OPEN
    assert refused.value.details == {"debt": owed}
    await money.orders.place_order(method="WALLET")
    await money.orders.place_order(method="MOBILE_MONEY")


async def test_a_debt_is_taken_from_the_next_top_up(money: MoneyScenario):
    """Once, whoever reports the payment how often; then cash is accepted again."""
    await order_given_up(money)
    payment_id = await started_top_up(money)
    event = payment_event("payment.succeeded", payment_id)
    for name in ("evt_1", "evt_1", "evt_2"):
        await money.payments.handle_webhook_event("momo", event, key(name))
    assert await debt(money) == 0
    assert await balance(money) == BALANCE_XAF + 5_000 - 9_500
    await money.orders.place_order(method="CASH")


async def test_a_small_top_up_pays_a_part_of_the_debt(money: MoneyScenario):
    """The wallet is emptied, and the rest stays owed."""
    owed = await order_given_up(money)
    bank = AdjustmentLeg("CLEARING#BANK.0", BALANCE_XAF)
    legs = (AdjustmentLeg("USER#usr_1", -BALANCE_XAF), bank)
    await money.ledger.post(Adjustment("empty", legs, "a test", "adm_8", "adm_9"))
    await money.payments.top_up(customer(), TopUp(amount=5_000, provider=SANDBOX))
    assert (await debt(money), await balance(money)) == (owed - 5_000, 0)


async def test_a_frozen_wallet_keeps_its_money(money: MoneyScenario):
    """The top-up arrives, and the debt waits until the wallet is active again."""
    owed = await order_given_up(money)
    await money.table.transact([set_wallet_status("USER#usr_1", FROZEN, 5)])
    await money.payments.top_up(customer(), TopUp(amount=5_000, provider=SANDBOX))
    assert (await debt(money), await balance(money)) == (owed, BALANCE_XAF + 5_000)
