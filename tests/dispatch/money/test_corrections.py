"""Tips, refunds, cash, adjustments by two people, and wallet status."""

import pytest

from dispatch.accounts.standing import Standing
from dispatch.errors import Refusal, Refused
from dispatch.money.corrections import TIP_WITHIN_MS
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    AdjustmentLegBody,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from tests.dispatch.money.conftest import MoneyScenario, customer, operator, rider

pytestmark = pytest.mark.engines


def adjustment(amount: int = 700, owed: int = -700) -> AdjustmentBody:
    return AdjustmentBody(
        legs=[
            AdjustmentLegBody(account="VENDOR#ven_1", amount=amount),
            AdjustmentLegBody(account="CLEARING#BANK.0", amount=owed),
        ],
        reason="forgotten",
    )


async def test_a_tip_goes_from_the_customer_to_the_rider_once(money: MoneyScenario):
    """The answer names the wallet line; a repeat does not tip again."""
    order_id = await money.settled_order()
    before, _ = await money.wallet("RIDER", "rdr_1")
    answers = [await money.corrections.tip(customer("thanks"), order_id, 500) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["amount"] == 500
    assert (await money.wallet("RIDER", "rdr_1"))[0] == before + 500


async def test_only_the_customer_tips_within_a_week_of_the_delivery(money: MoneyScenario):
    """Before the delivery, a week later, or by another customer the tip is refused."""
    open_order = await money.orders.place_order()
    delivered = await money.settled_order()
    with pytest.raises(Refused) as too_early:
        await money.corrections.tip(customer(), open_order, 500)
    with pytest.raises(Refused) as not_theirs:
        await money.corrections.tip(rider(), delivered, 500)
    money.clock.advance(TIP_WITHIN_MS + 60_000)
    with pytest.raises(Refused) as too_late:
        await money.corrections.tip(customer(), delivered, 500)
    codes = [each.value.code for each in (too_early, not_theirs, too_late)]
    assert codes == [Refusal.WRONG_STATE, Refusal.NOT_FOUND, Refusal.WRONG_STATE]


async def test_a_refund_is_at_most_what_was_paid(money: MoneyScenario):
    """A part goes back to the customer; more than the order's total is refused."""
    order_id = await money.settled_order()
    before, _ = await money.wallet("USER", "usr_1")
    answer = await money.corrections.refund(
        operator(), order_id, RefundBody(amount=1_000, reason="cold")
    )
    with pytest.raises(Refused) as raised:
        await money.corrections.refund(
            operator(), order_id, RefundBody(amount=1_000_000, reason="cold")
        )
    assert (answer["amount"], answer["borneBy"]) == (1_000, "PARTIES")
    assert raised.value.code is Refusal.INSUFFICIENT_FUNDS
    assert (await money.wallet("USER", "usr_1"))[0] == before + 1_000


async def test_a_refund_of_an_unknown_or_unsettled_order_is_refused(money: MoneyScenario):
    """Nothing can be refunded before the settlement."""
    open_order, body = await money.orders.place_order(), RefundBody(amount=1, reason="cold")
    for order_id, code in ((open_order, Refusal.WRONG_STATE), ("ord_none", Refusal.NOT_FOUND)):
        with pytest.raises(Refused) as raised:
            await money.corrections.refund(operator(), order_id, body)
        assert raised.value.code is code


async def test_a_remittance_reference_counts_once(money: MoneyScenario):
    """The same reference with the same amount is one remittance, with another amount a conflict."""
    await money.settled_order(method="CASH")
    owed = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    record = money.corrections.record_remittance
    body = RemittanceBody(amount=1_000, reference="slip_1")
    for _ in range(2):
        await record(operator(), "rdr_1", body)
    with pytest.raises(Refused) as raised:
        await record(operator(), "rdr_1", RemittanceBody(amount=999, reference="slip_1"))
    assert raised.value.code is Refusal.CONFLICT
    after = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    assert after == owed - 1_000


async def test_an_adjustment_takes_two_people(money: MoneyScenario):
    """Its maker cannot decide it; another person approves it, and the wallet has the amount."""
    proposed = await money.corrections.propose(operator(1), adjustment())
    for decide in (money.corrections.approve, money.corrections.reject):
        with pytest.raises(Refused) as raised:
            await decide(operator(1), proposed["adjustmentId"])
        assert raised.value.code is Refusal.FORBIDDEN
    posted = await money.corrections.approve(operator(2), proposed["adjustmentId"])
    assert (posted["status"], posted["maker"], posted["checker"]) == ("POSTED", "adm_1", "adm_2")
    assert await money.wallet("VENDOR", "ven_1") == (700, 0)


async def test_a_rejected_adjustment_moves_nothing(money: MoneyScenario):
    """It is in the list of rejected ones, and a repeat gets the first answer."""
    proposed = await money.corrections.propose(operator(1, "make"), adjustment())
    assert await money.corrections.propose(operator(1, "make"), adjustment()) == proposed
    answers = [
        await money.corrections.reject(operator(2, "no"), proposed["adjustmentId"])
        for _ in range(2)
    ]
    listed, _ = await money.corrections.list_proposals("REJECTED", PageRequest(limit=5))
    assert answers[0] == answers[1]
    assert [each["adjustmentId"] for each in listed] == [proposed["adjustmentId"]]
    assert await money.wallet("VENDOR", "ven_1") == (0, 0)


async def test_legs_that_are_no_entry_are_malformed(money: MoneyScenario):
    """A proposal that does not sum to zero is refused at once."""
    with pytest.raises(Refused) as raised:
        await money.corrections.propose(operator(), adjustment(700, -699))
    assert raised.value.code is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("charge", "account"),
    [
        ("PLATFORM", "LOSS.0"),
        ("RIDER", "RIDER#rdr_1"),
        ("CUSTOMER", "RECEIVABLE#USER.usr_1"),
    ],
)
async def test_a_shortage_is_charged_to_whom_the_operator_says(
    money: MoneyScenario, charge: str, account: str
):
    """The proposal takes the cash from the rider's debt and charges one account."""
    body = ShortageBody(
        amount=500,
        charge=charge,  # type: ignore[arg-type]
        reason="lost",
        customer_id="usr_1" if charge == "CUSTOMER" else None,
    )
    proposed = await money.corrections.propose_shortage(operator(), "rdr_1", body)
    legs = {leg["account"]: leg["amount"] for leg in proposed["legs"]}
    assert legs["RIDERCASH#rdr_1"] == 500
    [charged] = [name for name, amount in legs.items() if amount == -500]
    assert charged.endswith(account)


async def test_a_customer_who_is_charged_must_be_named(money: MoneyScenario):
    """Without the customer's id the proposal is malformed."""
    body = ShortageBody(amount=500, charge="CUSTOMER", reason="lost")
    with pytest.raises(Refused) as raised:
        await money.corrections.propose_shortage(operator(), "rdr_1", body)
    assert raised.value.code is Refusal.MALFORMED


async def test_a_wallet_is_frozen_and_activated_again(money: MoneyScenario):
    """The status is the one set last."""
    for status in ("FROZEN", "ACTIVE"):
        body = WalletStatusChange(status=status, reason="review")  # type: ignore[arg-type]
        await money.corrections.set_wallet_status(operator(), "USER#usr_1", body)
        assert (await money.statements.wallet_details("USER", "usr_1"))["status"] == status


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ("USER#usr_1", Refusal.FORBIDDEN),
        ("VENDOR#ven_1", Refusal.VENDOR_CLOSED),
        ("RIDER#rdr_1", Refusal.FORBIDDEN),
    ],
)
async def test_a_frozen_owner_neither_orders_nor_sells_nor_rides(
    money: MoneyScenario, account: str, code: Refusal
):
    """Also where its wallet is not touched: a cash order. Active again, all go on."""

    async def order_for_cash() -> None:
        order_id = await money.orders.place_order(method="CASH")
        await money.orders.accept_order(order_id)
        await money.orders.make_offers(order_id, "rdr_1")

    frozen = WalletStatusChange(status="FROZEN", reason="a stolen phone")
    await money.corrections.set_wallet_status(operator(), account, frozen)
    with pytest.raises(Refused) as refused:
        await order_for_cash()
    assert refused.value.code is code
    active = WalletStatusChange(status="ACTIVE", reason="found")
    await money.corrections.set_wallet_status(operator(), account, active)
    await order_for_cash()


async def test_a_suspended_customer_tips_nobody(money: MoneyScenario):
    """Money that leaves a wallet needs the owner's good standing, tips too."""
    order_id = await money.settled_order()
    await money.orders.set_standing("USER", "usr_1", Standing.SUSPENDED)
    with pytest.raises(Refused) as refused:
        await money.corrections.tip(customer(), order_id, 500)
    assert refused.value.code is Refusal.NOT_APPROVED
