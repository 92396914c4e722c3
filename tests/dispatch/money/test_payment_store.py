"""Payments are written down once, and fail only while they are pending."""

import pytest

from dispatch.errors import Refusal, Refused
from ledger.core.facts import TopUp
from ledger.records.payments import PaymentState, ProviderPayment
from tests.dispatch.money.conftest import MoneyScenario, key

pytestmark = pytest.mark.engines

PAYMENT = ProviderPayment(provider="momo", payment_id="pay_1", user_id="usr_1", amount=5_000)


async def test_a_started_payment_can_be_matched(money: MoneyScenario):
    """The ledger finds it by provider, id and amount; a repeat gets the first answer."""
    first = await money.payment_store.start(PAYMENT, {"n": 1}, key("a"))
    again = await money.payment_store.start(PAYMENT, {"n": 2}, key("a"))
    assert first == again == {"n": 1}
    assert await money.ledger.match_payment("momo", "pay_1", 5_000) == PAYMENT


async def test_another_payment_under_the_same_key_is_a_conflict(money: MoneyScenario):
    """A request key stands for one payment."""
    await money.payment_store.start(PAYMENT, {"n": 1}, key("a", b"one"))
    other = ProviderPayment(provider="momo", payment_id="pay_2", user_id="usr_1", amount=1)
    with pytest.raises(Refused) as raised:
        await money.payment_store.start(other, {"n": 2}, key("a", b"two"))
    assert raised.value.code is Refusal.CONFLICT


async def test_a_pending_payment_fails_once(money: MoneyScenario):
    """The second failure, and one after the success, change nothing."""
    await money.payment_store.start(PAYMENT, {}, None)
    assert await money.payment_store.fail(PAYMENT, "no money")
    assert not await money.payment_store.fail(PAYMENT, None)
    await money.ledger.post(TopUp("usr_1", 5_000, "momo", "pay_1"))
    assert not await money.payment_store.fail(PAYMENT, None)
    state = (await money.ledger.match_payment("momo", "pay_1", 5_000)).state
    assert state is PaymentState.SUCCESS
