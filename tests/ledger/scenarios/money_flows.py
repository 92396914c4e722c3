"""Every flow that moves money: its preparation, the step itself, and how its end is seen.

A new flow is added to FLOWS; crashes, conflicts and audits then cover it like all others. Those of
two people are in `approval_flows`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from dispatch.money.payouts.providers import SANDBOX_WAITS_DIGITS
from dispatch.orders.transitions.timeouts import PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS
from dispatch.wire import commands
from dispatch.wire.http.base import PaymentMethodName
from dispatch.wire.webhooks import PAYMENT_FAILED, PAYMENT_SUCCEEDED
from ledger.core.facts import Adjustment, AdjustmentLeg
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items
from tests.ledger.scenarios.cluster import (
    CUSTOMER,
    PROMO,
    RIDER,
    VENDOR,
    Response,
    ServerNode,
    build_caller,
)
from tests.ledger.scenarios.flow_outcomes import (
    AMOUNT,
    Subject,
    cash_is_booked,
    funds_state_is,
    has_one_order,
    held_amount_is,
    hold_state_is,
    is_adjustment_posted,
    is_adjustment_proposed,
    is_cash_remitted,
    is_order_offered,
    is_order_payment_failed,
    is_payment_failed,
    is_payment_requested,
    is_refunded,
    is_settled_with_cash,
    payout_state_is,
    promotion_use_is,
    wallet_balance_is,
)

WALLET_BALANCE = 100_000
# Price of one meal with its delivery.
MEAL = 11_500
EARNINGS, PAYOUT_AMOUNT = 200_000, 60_000
VENDOR_WALLET, RIDER_WALLET = f"VENDOR#{VENDOR}", f"RIDER#{RIDER}"


class MoneyFlow(NamedTuple):
    """One flow.

    `prepare` runs undisturbed. `run` may be cut off anywhere and is then repeated by a client or
    provider without an answer; a flow that is not `is_retried` has nobody to repeat it and must end
    by itself. `is_done` tells whether it has is_done.
    """

    name: str
    prepare: Callable[[ServerNode], Awaitable[Subject]]
    run: Callable[[ServerNode, Subject], Awaitable[object]]
    is_done: Callable[[Items, Subject], bool]
    is_retried: bool = True


async def with_nothing(_node: ServerNode) -> Subject:
    return Subject()


async def with_filled_wallet(node: ServerNode) -> Subject:
    await node.top_up(WALLET_BALANCE, "wallet")
    return Subject()


def subject_of(order: Response) -> Subject:
    payment_id = order["payment"].get("paymentId", "")
    return Subject(order["orderId"], payment_id, order["pricing"]["total"])


def order_placed(method: PaymentMethodName) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        await with_filled_wallet(node)
        on = subject_of(await node.place_order(method, "place"))
        if method == "MOBILE_MONEY":
            await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)
        return on

    return before


def order_accepted(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        on = await order_placed(method)(node)
        await node.accept_order(on.id)
        return on

    return before


def order_offered(method: PaymentMethodName) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        on = await order_accepted(method)(node)
        await node.make_offer(on.id)
        return on

    return before


def order_assigned(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        on = await order_offered(method)(node)
        await node.accept_delivery(on.id)
        return on

    return before


def order_picked_up(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        on = await order_assigned(method)(node)
        await node.pick_up(on.id)
        return on

    return before


def order_delivered(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    async def before(node: ServerNode) -> Subject:
        on = await order_picked_up(method)(node)
        await node.complete_delivery(on.id)
        return on

    return before


def cash_handed_over(difference: int) -> Callable[[ServerNode], Awaitable[Subject]]:
    """A delivered cash order of which so much more, or less, than the price was collected."""

    async def before(node: ServerNode) -> Subject:
        on = await order_picked_up("CASH")(node)
        await node.complete_delivery(on.id, cash=on.total + difference)
        return on

    return before


async def second_order_delivered(node: ServerNode) -> Subject:
    """A second order of the same parties, whose first is settled."""
    on = await order_delivered("WALLET")(node)
    await node.settlement_worker.settle(on.id)
    second = subject_of(await node.place_order("WALLET", "second"))
    await node.accept_order(second.id)
    await node.make_offer(second.id)
    await node.accept_delivery(second.id)
    await node.pick_up(second.id)
    await node.complete_delivery(second.id)
    return second


async def top_up_requested(node: ServerNode) -> Subject:
    """A top-up that was requested from a provider."""
    payment = await node.top_up(AMOUNT, "ask", "momo")
    return Subject(payment_id=payment["paymentId"], total=AMOUNT)


async def payment_awaited(node: ServerNode) -> Subject:
    """An order that waits for mobile money."""
    return subject_of(await node.place_order("MOBILE_MONEY", "place"))


async def unpaid_order_cancelled(node: ServerNode) -> Subject:
    on = await payment_awaited(node)
    await node.cancel_order(on.id)
    return on


async def promotion_created(node: ServerNode) -> Subject:
    """An unused promotion."""
    await with_filled_wallet(node)
    await node.create_promotion()
    return Subject()


def discounted_order_placed(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    """An order with a discount."""

    async def before(node: ServerNode) -> Subject:
        await promotion_created(node)
        return subject_of(await node.place_order(method, "place", PROMO))

    return before


async def discounted_order_delivered(node: ServerNode) -> Subject:
    """A delivered cash order with a discount."""
    on = await discounted_order_placed("CASH")(node)
    await node.accept_order(on.id)
    await node.make_offer(on.id)
    await node.accept_delivery(on.id)
    await node.pick_up(on.id)
    await node.complete_delivery(on.id)
    return on


async def payment_overdue(node: ServerNode) -> Subject:
    """An order whose mobile money did not come in time."""
    on = await payment_awaited(node)
    await virtual_time.clock().sleep(PAYMENT_TIMEOUT_MS / 1000)
    return on


def answer_overdue(
    method: PaymentMethodName,
) -> Callable[[ServerNode], Awaitable[Subject]]:
    """An order that its vendor did not answer in time."""

    async def before(node: ServerNode) -> Subject:
        on = await order_placed(method)(node)
        await virtual_time.clock().sleep(VENDOR_TIMEOUT_MS / 1000)
        return on

    return before


async def order_released(node: ServerNode) -> Subject:
    """A cash order that its rider released, offered to another."""
    on = await order_assigned("CASH")(node)
    await node.release_delivery(on.id)
    await node.make_offer(on.id, "rdr_2")
    return on


async def customer_in_debt(node: ServerNode) -> Subject:
    """A customer who owes a cash order that was cancelled by its fault on the way."""
    on = await order_picked_up("CASH")(node)
    command = commands.CancelOrder(order_id=on.id, reason="refused", fault="CUSTOMER")
    operator = build_caller("ops", "adm_1", f"refused-{on.id}", command)
    await node.order_service.cancel_order(operator, command)
    return on


async def top_up(node: ServerNode, _on: Subject) -> object:
    return await node.top_up(AMOUNT, "act")


async def request_top_up(node: ServerNode, _on: Subject) -> object:
    return await node.top_up(AMOUNT, "act", "momo")


async def report_success(node: ServerNode, on: Subject) -> object:
    return await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)


async def report_failure(node: ServerNode, on: Subject) -> object:
    return await node.report_payment(on.payment_id, on.total, PAYMENT_FAILED)


async def report_failure_then_success(node: ServerNode, on: Subject) -> object:
    """A failure, then a success."""
    await report_failure(node, on)
    return await report_success(node, on)


def place_order(
    method: PaymentMethodName,
) -> Callable[[ServerNode, Subject], Awaitable[object]]:
    async def act(node: ServerNode, _on: Subject) -> object:
        return await node.place_order(method, "act")

    return act


def place_discounted_order(
    method: PaymentMethodName,
) -> Callable[[ServerNode, Subject], Awaitable[object]]:
    async def act(node: ServerNode, _on: Subject) -> object:
        return await node.place_order(method, "act", PROMO)

    return act


async def create_promotion(node: ServerNode, _on: Subject) -> object:
    return await node.create_promotion()


async def make_offer(node: ServerNode, on: Subject) -> object:
    return await node.make_offer(on.id)


async def accept_delivery(node: ServerNode, on: Subject) -> object:
    return await node.accept_delivery(on.id)


async def accept_delivery_instead(node: ServerNode, on: Subject) -> object:
    return await node.accept_delivery(on.id, "rdr_2")


async def release_delivery(node: ServerNode, on: Subject) -> object:
    return await node.release_delivery(on.id)


async def complete_delivery(node: ServerNode, on: Subject) -> object:
    return await node.complete_delivery(on.id)


def complete_with_cash(difference: int) -> Callable[[ServerNode, Subject], Awaitable[object]]:
    async def act(node: ServerNode, on: Subject) -> object:
        return await node.complete_delivery(on.id, cash=on.total + difference)

    return act


async def cancel_order(node: ServerNode, on: Subject) -> object:
    return await node.cancel_order(on.id)


async def reject_order(node: ServerNode, on: Subject) -> object:
    return await node.reject_order(on.id)


async def time_out_orders(node: ServerNode, _on: Subject) -> object:
    return await node.order_timeouts.sweep_once()


async def settle(node: ServerNode, on: Subject) -> object:
    return await node.settlement_worker.settle(on.id)


async def vendor_with_earnings(node: ServerNode) -> Subject:
    """A vendor with earnings to draw."""
    legs = (AdjustmentLeg(VENDOR_WALLET, EARNINGS), AdjustmentLeg("CLEARING#BANK.0", -EARNINGS))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def payout_requested(node: ServerNode) -> Subject:
    """A payout requested by a vendor."""
    await vendor_with_earnings(node)
    return Subject((await node.request_payout(PAYOUT_AMOUNT, "draw"))["payoutId"])


async def order_settled(node: ServerNode) -> Subject:
    on = await order_delivered("WALLET")(node)
    await node.settlement_worker.settle(on.id)
    return on


async def cash_order_settled(node: ServerNode) -> Subject:
    on = await order_delivered("CASH")(node)
    await node.settlement_worker.settle(on.id)
    return on


async def rider_with_cash_and_earnings(node: ServerNode) -> Subject:
    """A rider with unremitted cash and higher earnings."""
    await cash_order_settled(node)
    legs = (AdjustmentLeg(RIDER_WALLET, EARNINGS), AdjustmentLeg("CLEARING#BANK.0", -EARNINGS))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def rider_with_earnings(node: ServerNode) -> Subject:
    """A rider with earnings that never carried cash."""
    legs = (AdjustmentLeg(RIDER_WALLET, EARNINGS), AdjustmentLeg("CLEARING#BANK.0", -EARNINGS))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def payout_submitted(node: ServerNode) -> Subject:
    """A submitted payout that its provider has not confirmed."""
    await vendor_with_earnings(node)
    on = Subject(
        (await node.request_payout(PAYOUT_AMOUNT, "draw", to=SANDBOX_WAITS_DIGITS))["payoutId"]
    )
    await node.approve_payout(on.id)
    await node.payouts.submitter.process_payout(on.id)
    return on


async def adjustment_proposed(node: ServerNode) -> Subject:
    """An adjustment that waits for approval."""
    return Subject(await node.propose_adjustment(AMOUNT))


async def poll_provider(node: ServerNode, on: Subject) -> object:
    return await node.payouts.submitter.process_payout(on.id)


async def propose_adjustment(node: ServerNode, _on: Subject) -> object:
    return await node.propose_adjustment(AMOUNT)


async def approve_adjustment(node: ServerNode, on: Subject) -> object:
    return await node.approve_adjustment(on.id)


async def request_payout(node: ServerNode, _on: Subject) -> object:
    return await node.request_payout(PAYOUT_AMOUNT, "act")


async def request_rider_payout(node: ServerNode, _on: Subject) -> object:
    return await node.request_payout(PAYOUT_AMOUNT, "act", RIDER)


async def approve(node: ServerNode, on: Subject) -> object:
    """Approve a payout and send it, as the server does."""
    answer = await node.approve_payout(on.id)
    await node.payouts.submitter.process_payout(on.id)
    return answer


async def reject_payout(node: ServerNode, on: Subject) -> object:
    return await node.reject_payout(on.id)


async def refund_part(node: ServerNode, on: Subject) -> object:
    return await node.refund_order(on.id, AMOUNT, "act")


async def tip_rider(node: ServerNode, on: Subject) -> object:
    return await node.tip_rider(on.id, AMOUNT, "act")


async def remit_cash(node: ServerNode, _on: Subject) -> object:
    return await node.remit_cash(AMOUNT, "act")


async def cancel_in_transit(node: ServerNode, on: Subject) -> object:
    """An operator cancels an order that a rider has picked up."""
    command = commands.CancelOrder(order_id=on.id, reason="lost", fault="RIDER")
    return await node.order_service.cancel_order(
        build_caller("ops", "adm_1", f"late-{on.id}", command), command
    )


FLOWS = [
    MoneyFlow("top_up", with_nothing, top_up, wallet_balance_is(AMOUNT)),
    MoneyFlow(
        "top_up_again", with_filled_wallet, top_up, wallet_balance_is(WALLET_BALANCE + AMOUNT)
    ),
    MoneyFlow(
        # The debt is the whole price of the order, and is taken from the wallet once.
        "top_up_in_debt",
        customer_in_debt,
        top_up,
        wallet_balance_is(WALLET_BALANCE + AMOUNT - MEAL),
    ),
    MoneyFlow("request_top_up", with_nothing, request_top_up, is_payment_requested),
    MoneyFlow("report_top_up", top_up_requested, report_success, wallet_balance_is(AMOUNT)),
    MoneyFlow("report_failure", top_up_requested, report_failure, is_payment_failed),
    MoneyFlow(
        "report_failure_and_success",
        top_up_requested,
        report_failure_then_success,
        wallet_balance_is(AMOUNT),
    ),
    MoneyFlow(
        "place_from_wallet", with_filled_wallet, place_order("WALLET"), has_one_order("CAPTURED")
    ),
    MoneyFlow("place_for_cash", with_nothing, place_order("CASH"), has_one_order("DUE")),
    MoneyFlow(
        "place_for_mobile_money", with_nothing, place_order("MOBILE_MONEY"), has_one_order("NONE")
    ),
    MoneyFlow("report_payment", payment_awaited, report_success, funds_state_is("CAPTURED")),
    MoneyFlow(
        "report_late_payment", unpaid_order_cancelled, report_success, wallet_balance_is(MEAL)
    ),
    MoneyFlow("report_failed_payment", payment_awaited, report_failure, is_order_payment_failed),
    MoneyFlow(
        "report_failed_payment_and_success",
        payment_awaited,
        report_failure_then_success,
        funds_state_is("CAPTURED"),
    ),
    MoneyFlow(
        "time_out_unpaid",
        payment_overdue,
        time_out_orders,
        funds_state_is("VOID"),
        is_retried=False,
    ),
    MoneyFlow(
        "time_out_unanswered",
        answer_overdue("WALLET"),
        time_out_orders,
        wallet_balance_is(WALLET_BALANCE),
        is_retried=False,
    ),
    MoneyFlow(
        "time_out_unanswered_cash",
        answer_overdue("CASH"),
        time_out_orders,
        funds_state_is("VOID"),
        is_retried=False,
    ),
    MoneyFlow("offer_cash_order", order_accepted("CASH"), make_offer, is_order_offered),
    MoneyFlow("accept_cash_order", order_offered("CASH"), accept_delivery, hold_state_is("OPEN")),
    MoneyFlow(
        "release_cash_order", order_assigned("CASH"), release_delivery, hold_state_is("RELEASED")
    ),
    MoneyFlow(
        "accept_released_cash_order", order_released, accept_delivery_instead, hold_state_is("OPEN")
    ),
    MoneyFlow("create_promotion", with_nothing, create_promotion, promotion_use_is(0, 0)),
    MoneyFlow(
        "place_with_promotion",
        promotion_created,
        place_discounted_order("WALLET"),
        promotion_use_is(1_000, 1),
    ),
    MoneyFlow(
        "place_for_cash_with_promotion",
        promotion_created,
        place_discounted_order("CASH"),
        promotion_use_is(1_000, 1),
    ),
    MoneyFlow(
        "cancel_with_promotion",
        discounted_order_placed("WALLET"),
        cancel_order,
        promotion_use_is(0, 0),
    ),
    MoneyFlow(
        "settle_cash_with_promotion",
        discounted_order_delivered,
        settle,
        is_settled_with_cash,
        is_retried=False,
    ),
    MoneyFlow(
        "complete_and_settle",
        order_picked_up("WALLET"),
        complete_delivery,
        funds_state_is("SETTLED"),
    ),
    MoneyFlow(
        "settle_from_wallet",
        order_delivered("WALLET"),
        settle,
        funds_state_is("SETTLED"),
        is_retried=False,
    ),
    MoneyFlow(
        "settle_second_order",
        second_order_delivered,
        settle,
        funds_state_is("SETTLED"),
        is_retried=False,
    ),
    MoneyFlow(
        "settle_mobile_money",
        order_delivered("MOBILE_MONEY"),
        settle,
        funds_state_is("SETTLED"),
        is_retried=False,
    ),
    MoneyFlow(
        "settle_cash", order_delivered("CASH"), settle, is_settled_with_cash, is_retried=False
    ),
    MoneyFlow(
        "complete_with_less_cash",
        order_picked_up("CASH"),
        complete_with_cash(-500),
        cash_is_booked(MEAL - 500, f"RECEIVABLE#USER.{CUSTOMER}", -500),
    ),
    MoneyFlow(
        "settle_less_cash",
        cash_handed_over(-500),
        settle,
        cash_is_booked(MEAL - 500, f"RECEIVABLE#USER.{CUSTOMER}", -500),
        is_retried=False,
    ),
    MoneyFlow(
        "settle_without_cash",
        cash_handed_over(-MEAL),
        settle,
        cash_is_booked(0, f"RECEIVABLE#USER.{CUSTOMER}", -MEAL),
        is_retried=False,
    ),
    MoneyFlow(
        "settle_more_cash",
        cash_handed_over(500),
        settle,
        cash_is_booked(MEAL + 500, f"USER#{CUSTOMER}", WALLET_BALANCE + 500),
        is_retried=False,
    ),
    MoneyFlow(
        "cancel_paid", order_placed("WALLET"), cancel_order, wallet_balance_is(WALLET_BALANCE)
    ),
    MoneyFlow("cancel_unpaid", payment_awaited, cancel_order, funds_state_is("VOID")),
    MoneyFlow(
        "cancel_cash_with_rider", order_assigned("CASH"), cancel_order, hold_state_is("RELEASED")
    ),
    MoneyFlow(
        "reject_paid", order_placed("WALLET"), reject_order, wallet_balance_is(WALLET_BALANCE)
    ),
    MoneyFlow(
        "cancel_in_transit",
        order_picked_up("WALLET"),
        cancel_in_transit,
        wallet_balance_is(WALLET_BALANCE),
    ),
    MoneyFlow(
        "cancel_cash_in_transit",
        order_picked_up("CASH"),
        cancel_in_transit,
        funds_state_is("CANCELLED"),
    ),
    MoneyFlow("refund_partially", order_settled, refund_part, is_refunded),
    MoneyFlow(
        "tip_rider", order_settled, tip_rider, wallet_balance_is(WALLET_BALANCE - MEAL - AMOUNT)
    ),
    MoneyFlow("remit_cash", cash_order_settled, remit_cash, is_cash_remitted),
    MoneyFlow(
        "request_payout",
        vendor_with_earnings,
        request_payout,
        held_amount_is(VENDOR_WALLET, PAYOUT_AMOUNT),
    ),
    MoneyFlow(
        "request_payout_with_cash",
        rider_with_cash_and_earnings,
        request_rider_payout,
        held_amount_is(RIDER_WALLET, PAYOUT_AMOUNT),
    ),
    MoneyFlow(
        "request_rider_payout",
        rider_with_earnings,
        request_rider_payout,
        held_amount_is(RIDER_WALLET, PAYOUT_AMOUNT),
    ),
    MoneyFlow(
        "report_payout", payout_submitted, poll_provider, payout_state_is("PAID"), is_retried=False
    ),
    MoneyFlow("propose_adjustment", with_nothing, propose_adjustment, is_adjustment_proposed),
    MoneyFlow("approve_adjustment", adjustment_proposed, approve_adjustment, is_adjustment_posted),
    MoneyFlow("approve_payout", payout_requested, approve, payout_state_is("PAID")),
    MoneyFlow("reject_payout", payout_requested, reject_payout, payout_state_is("REJECTED")),
]
