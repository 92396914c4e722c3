"""Every flow that moves money, each as a story of three parts: before, the act, and its end.

A new flow joins FLOWS with a line; crashes, conflicts and audits then come over it as over all.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from dispatch.money.payout_providers import SANDBOX_WAITS
from dispatch.orders.transitions.timeouts import ANSWER_MS, PAYMENT_MS
from dispatch.wire import commands
from dispatch.wire.http import requests
from dispatch.wire.webhooks import FAILED, SUCCEEDED
from ledger.core.accounts import balance_key, user
from ledger.core.facts import Adjustment, Correction
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items
from tests.ledger.scenarios.shop import (
    CUSTOMER,
    PROMO,
    RIDER,
    VENDOR,
    Answer,
    Node,
    caller,
)

PURSE = 100_000
AMOUNT = 5_000
# What one meal costs its customer with its delivery.
MEAL = 11_500
EARNED, DRAWN = 200_000, 60_000
VENDOR_WALLET, RIDER_WALLET = f"VENDOR#{VENDOR}", f"RIDER#{RIDER}"


class Subject(NamedTuple):
    """What a story is about: an order, or a payment that was asked for. Units: whole XAF."""

    id: str = ""
    payment_id: str = ""
    total: int = 0


class Flow(NamedTuple):
    """One flow.

    `before` runs undisturbed; `act` may be cut off anywhere and is then asked for again, by a
    client or provider who got no answer; a flow that is not `repeated` has nobody who would ask,
    and must come to its end by itself. `ended` tells whether what was wanted is so.
    """

    name: str
    before: Callable[[Node], Awaitable[Subject]]
    act: Callable[[Node, Subject], Awaitable[object]]
    ended: Callable[[Items, Subject], bool]
    repeated: bool = True


def fin_is(state: str) -> Callable[[Items, Subject], bool]:
    """The order's money stands so."""
    return lambda items, on: items.get((f"ORDER#{on.id}", "FIN"), {}).get("finState") == state


def placed_once(state: str) -> Callable[[Items, Subject], bool]:
    """There is one order, whose money stands so, and one meal has gone from the shelf."""

    def ended(items: Items, _on: Subject) -> bool:
        fins = [item["finState"] for (_, sk), item in items.items() if sk == "FIN"]
        return fins == [state]

    return ended


def purse_is(amount: int) -> Callable[[Items, Subject], bool]:
    """The customer has so much to spend."""
    key = balance_key(user(CUSTOMER))
    return lambda items, _on: items.get((key.pk, key.sk), {}).get("available", 0) == amount


def hold_is(state: str) -> Callable[[Items, Subject], bool]:
    """The hold on the rider's cash for the order stands so."""
    return lambda items, on: items.get((f"ORDER#{on.id}", "HOLD#CASH"), {}).get("hstate") == state


async def nothing(_node: Node) -> Subject:
    return Subject()


async def with_purse(node: Node) -> Subject:
    await node.top_up(PURSE, "purse")
    return Subject()


def subject_of(order: Answer) -> Subject:
    payment_id = order["payment"].get("paymentId", "")
    return Subject(order["orderId"], payment_id, order["pricing"]["total"])


def placed(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        await with_purse(node)
        on = subject_of(await node.place(method, "place"))
        if method == "MOBILE_MONEY":
            await node.hear(on.payment_id, on.total, SUCCEEDED)
        return on

    return before


def accepted(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        on = await placed(method)(node)
        await node.accept_order(on.id)
        return on

    return before


def offered(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        on = await accepted(method)(node)
        await node.offer(on.id)
        return on

    return before


def taken(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        on = await offered(method)(node)
        await node.take(on.id)
        return on

    return before


def fetched(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        on = await taken(method)(node)
        await node.fetch(on.id)
        return on

    return before


def brought(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    async def before(node: Node) -> Subject:
        on = await fetched(method)(node)
        await node.bring(on.id)
        return on

    return before


async def brought_again(node: Node) -> Subject:
    """A second order of those whose first is settled already."""
    on = await brought("WALLET")(node)
    await node.settler.settle(on.id)
    second = subject_of(await node.place("WALLET", "second"))
    await node.accept_order(second.id)
    await node.offer(second.id)
    await node.take(second.id)
    await node.fetch(second.id)
    await node.bring(second.id)
    return second


async def asked(node: Node) -> Subject:
    """A top-up that a provider was asked for."""
    payment = await node.top_up(AMOUNT, "ask", "momo")
    return Subject(payment_id=payment["paymentId"], total=AMOUNT)


async def awaited(node: Node) -> Subject:
    """An order that waits for mobile money."""
    return subject_of(await node.place("MOBILE_MONEY", "place"))


async def called_off_unpaid(node: Node) -> Subject:
    on = await awaited(node)
    await node.call_off(on.id)
    return on


async def promised(node: Node) -> Subject:
    """A promotion that nobody has used."""
    await with_purse(node)
    await node.promise()
    return Subject()


def placed_cheaper(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    """An order with a discount."""

    async def before(node: Node) -> Subject:
        await promised(node)
        return subject_of(await node.place(method, "place", PROMO))

    return before


async def brought_cheaper(node: Node) -> Subject:
    """A cash order with a discount, at its door."""
    on = await placed_cheaper("CASH")(node)
    await node.accept_order(on.id)
    await node.offer(on.id)
    await node.take(on.id)
    await node.fetch(on.id)
    await node.bring(on.id)
    return on


async def unpaid_too_long(node: Node) -> Subject:
    """An order whose mobile money has not come in time."""
    on = await awaited(node)
    await virtual_time.clock().sleep(PAYMENT_MS / 1000)
    return on


def unanswered(method: requests.Method) -> Callable[[Node], Awaitable[Subject]]:
    """An order that its vendor has not looked at."""

    async def before(node: Node) -> Subject:
        on = await placed(method)(node)
        await virtual_time.clock().sleep(ANSWER_MS / 1000)
        return on

    return before


async def given_back(node: Node) -> Subject:
    """A cash order that its rider gave back, offered to him anew."""
    on = await taken("CASH")(node)
    await node.give_back(on.id)
    await node.offer(on.id, "rdr_2")
    return on


async def top_up(node: Node, _on: Subject) -> object:
    return await node.top_up(AMOUNT, "act")


async def ask_top_up(node: Node, _on: Subject) -> object:
    return await node.top_up(AMOUNT, "act", "momo")


async def hear_success(node: Node, on: Subject) -> object:
    return await node.hear(on.payment_id, on.total, SUCCEEDED)


async def hear_failure(node: Node, on: Subject) -> object:
    return await node.hear(on.payment_id, on.total, FAILED)


async def hear_both(node: Node, on: Subject) -> object:
    """A failure, then a success after all."""
    await hear_failure(node, on)
    return await hear_success(node, on)


def place(method: requests.Method) -> Callable[[Node, Subject], Awaitable[object]]:
    async def act(node: Node, _on: Subject) -> object:
        return await node.place(method, "act")

    return act


def place_cheaper(method: requests.Method) -> Callable[[Node, Subject], Awaitable[object]]:
    async def act(node: Node, _on: Subject) -> object:
        return await node.place(method, "act", PROMO)

    return act


async def promise(node: Node, _on: Subject) -> object:
    return await node.promise()


async def offer(node: Node, on: Subject) -> object:
    return await node.offer(on.id)


async def take(node: Node, on: Subject) -> object:
    return await node.take(on.id)


async def take_over(node: Node, on: Subject) -> object:
    return await node.take(on.id, "rdr_2")


async def give_back(node: Node, on: Subject) -> object:
    return await node.give_back(on.id)


async def bring(node: Node, on: Subject) -> object:
    return await node.bring(on.id)


async def call_off(node: Node, on: Subject) -> object:
    return await node.call_off(on.id)


async def reject(node: Node, on: Subject) -> object:
    return await node.reject_order(on.id)


async def lapse(node: Node, _on: Subject) -> object:
    return await node.lapses.sweep_once()


async def settle(node: Node, on: Subject) -> object:
    return await node.settler.settle(on.id)


def is_failed(items: Items, on: Subject) -> bool:
    """The payment is known as failed."""
    return items[f"PAYMENT#momo#{on.payment_id}", "PAYMENT"]["pstate"] == "FAILED"


def is_told_of_failure(items: Items, on: Subject) -> bool:
    """The order knows that its payment failed."""
    return items[f"ORDER#{on.id}", "METADATA"]["payment"]["state"] == "FAILED"


def promo_is(spent: int, uses: int) -> Callable[[Items, Subject], bool]:
    """So much of the promotion is spent, by so many orders and turns of its customer."""

    def ended(items: Items, _on: Subject) -> bool:
        promotion = items.get((f"PROMO#{PROMO}", "PROMOTION"), {"spent": None, "uses": None})
        used = items.get((f"PROMO#{PROMO}", f"USER#{CUSTOMER}"), {}).get("used", 0)
        return (promotion["spent"], promotion["uses"], used) == (spent, uses, uses)

    return ended


def is_asked(items: Items, _on: Subject) -> bool:
    """One payment was asked for, and none came."""
    states = [item["pstate"] for (_, sk), item in items.items() if sk == "PAYMENT"]
    return states == ["PENDING"]


def is_offered(items: Items, on: Subject) -> bool:
    """The order is offered to the rider."""
    return list(items[f"ORDER#{on.id}", "METADATA"]["dispatch"]["offers"]) == [RIDER]


def is_settled_with_cash(items: Items, on: Subject) -> bool:
    """The money is split and the rider's hold has become what he owes."""
    owed = items[f"WALLET#RIDERCASH#{RIDER}", "BALANCE"]["posted"]
    return fin_is("SETTLED")(items, on) and hold_is("POSTED")(items, on) and owed == -on.total


async def earned(node: Node) -> Subject:
    """A vendor with something to draw."""
    legs = (Correction(VENDOR_WALLET, EARNED), Correction("CLEARING#BANK.0", -EARNED))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def drawn(node: Node) -> Subject:
    """A payout that a vendor asked for."""
    await earned(node)
    return Subject((await node.draw(DRAWN, "draw"))["payoutId"])


async def settled(node: Node) -> Subject:
    on = await brought("WALLET")(node)
    await node.settler.settle(on.id)
    return on


async def settled_for_cash(node: Node) -> Subject:
    on = await brought("CASH")(node)
    await node.settler.settle(on.id)
    return on


async def rider_earned(node: Node) -> Subject:
    """A rider with cash in hand, and more earned than he owes."""
    await settled_for_cash(node)
    legs = (Correction(RIDER_WALLET, EARNED), Correction("CLEARING#BANK.0", -EARNED))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def rider_earned_only(node: Node) -> Subject:
    """A rider with earnings, who has never carried cash."""
    legs = (Correction(RIDER_WALLET, EARNED), Correction("CLEARING#BANK.0", -EARNED))
    await node.ledger.post(Adjustment("opening", legs, "opening", "adm_1", "adm_2"))
    return Subject()


async def sent(node: Node) -> Subject:
    """A payout of which its provider has said nothing yet."""
    await earned(node)
    on = Subject((await node.draw(DRAWN, "draw", to=SANDBOX_WAITS))["payoutId"])
    await node.approve(on.id)
    await node.payer.carry_out(on.id)
    return on


async def proposed(node: Node) -> Subject:
    """A correction that waits for another person."""
    return Subject(await node.correct(AMOUNT))


async def ask_provider(node: Node, on: Subject) -> object:
    return await node.payer.carry_out(on.id)


async def propose(node: Node, _on: Subject) -> object:
    return await node.correct(AMOUNT)


def is_proposed(items: Items, _on: Subject) -> bool:
    """One correction waits."""
    states = [item["astate"] for item in items.values() if "astate" in item]
    return states == ["PENDING"]


async def agree(node: Node, on: Subject) -> object:
    return await node.agree(on.id)


def is_corrected(items: Items, on: Subject) -> bool:
    """The correction is posted."""
    return items[f"ADJ#{on.id}", "REQUEST"]["astate"] == "POSTED"


async def draw(node: Node, _on: Subject) -> object:
    return await node.draw(DRAWN, "act")


async def rider_draws(node: Node, _on: Subject) -> object:
    return await node.draw(DRAWN, "act", RIDER)


async def approve(node: Node, on: Subject) -> object:
    """Agreed to and sent, as the server does it."""
    answer = await node.approve(on.id)
    await node.payer.carry_out(on.id)
    return answer


async def turn_down(node: Node, on: Subject) -> object:
    return await node.reject(on.id)


async def refund(node: Node, on: Subject) -> object:
    return await node.refund(on.id, AMOUNT, "act")


async def thank(node: Node, on: Subject) -> object:
    return await node.tip(on.id, AMOUNT, "act")


async def hand_in(node: Node, _on: Subject) -> object:
    return await node.remit(AMOUNT, "act")


async def call_off_late(node: Node, on: Subject) -> object:
    """An operator calls off what a rider has in his hands."""
    said = commands.CancelOrder(order_id=on.id, reason="lost", fault="RIDER")
    return await node.flow.cancel_order(caller("ops", "adm_1", f"late-{on.id}", said), said)


def held_is(account: str, amount: int) -> Callable[[Items, Subject], bool]:
    """A wallet holds so much, for one payout."""

    def ended(items: Items, _on: Subject) -> bool:
        asked = [pk for pk, sk in items if pk.startswith("PAYOUT#") and sk == "REQUEST"]
        wallet = items.get((f"WALLET#{account}", "BALANCE"), {})
        return wallet.get("held", 0) == amount and len(asked) == 1

    return ended


def payout_is(state: str) -> Callable[[Items, Subject], bool]:
    """The payout stands so."""
    return lambda items, on: items[f"PAYOUT#{on.id}", "REQUEST"]["pstate"] == state


def is_refunded(items: Items, on: Subject) -> bool:
    """A part went back, once."""
    return items[f"ORDER#{on.id}", "FIN"]["refunded"] == AMOUNT


def is_handed_in(items: Items, on: Subject) -> bool:
    """The rider owes so much less."""
    return items[f"WALLET#RIDERCASH#{RIDER}", "BALANCE"]["posted"] == AMOUNT - on.total


FLOWS = [
    Flow("top_up", nothing, top_up, purse_is(AMOUNT)),
    Flow("top_up_again", with_purse, top_up, purse_is(PURSE + AMOUNT)),
    Flow("ask_top_up", nothing, ask_top_up, is_asked),
    Flow("hear_of_top_up", asked, hear_success, purse_is(AMOUNT)),
    Flow("hear_of_failure", asked, hear_failure, is_failed),
    Flow("hear_of_failure_and_success", asked, hear_both, purse_is(AMOUNT)),
    Flow("place_from_wallet", with_purse, place("WALLET"), placed_once("CAPTURED")),
    Flow("place_for_cash", nothing, place("CASH"), placed_once("DUE")),
    Flow("place_for_mobile_money", nothing, place("MOBILE_MONEY"), placed_once("NONE")),
    Flow("hear_of_payment", awaited, hear_success, fin_is("CAPTURED")),
    Flow("hear_of_late_payment", called_off_unpaid, hear_success, purse_is(MEAL)),
    Flow("hear_of_failed_payment", awaited, hear_failure, is_told_of_failure),
    Flow("hear_of_failed_payment_and_success", awaited, hear_both, fin_is("CAPTURED")),
    Flow("lapse_unpaid", unpaid_too_long, lapse, fin_is("VOID"), repeated=False),
    Flow("lapse_unanswered", unanswered("WALLET"), lapse, purse_is(PURSE), repeated=False),
    Flow("lapse_unanswered_cash", unanswered("CASH"), lapse, fin_is("VOID"), repeated=False),
    Flow("offer_cash_order", accepted("CASH"), offer, is_offered),
    Flow("take_cash_order", offered("CASH"), take, hold_is("OPEN")),
    Flow("give_back_cash_order", taken("CASH"), give_back, hold_is("RELEASED")),
    Flow("take_over_cash_order", given_back, take_over, hold_is("OPEN")),
    Flow("make_promotion", nothing, promise, promo_is(0, 0)),
    Flow("place_with_promo", promised, place_cheaper("WALLET"), promo_is(1_000, 1)),
    Flow("place_for_cash_with_promo", promised, place_cheaper("CASH"), promo_is(1_000, 1)),
    Flow("call_off_with_promo", placed_cheaper("WALLET"), call_off, promo_is(0, 0)),
    Flow("settle_cash_with_promo", brought_cheaper, settle, is_settled_with_cash, repeated=False),
    Flow("bring_and_settle", fetched("WALLET"), bring, fin_is("SETTLED")),
    Flow("settle_from_wallet", brought("WALLET"), settle, fin_is("SETTLED"), repeated=False),
    Flow("settle_second", brought_again, settle, fin_is("SETTLED"), repeated=False),
    Flow("settle_mobile_money", brought("MOBILE_MONEY"), settle, fin_is("SETTLED"), repeated=False),
    Flow("settle_cash", brought("CASH"), settle, is_settled_with_cash, repeated=False),
    Flow("call_off_paid", placed("WALLET"), call_off, purse_is(PURSE)),
    Flow("call_off_unpaid", awaited, call_off, fin_is("VOID")),
    Flow("call_off_cash_with_rider", taken("CASH"), call_off, hold_is("RELEASED")),
    Flow("reject_paid", placed("WALLET"), reject, purse_is(PURSE)),
    Flow("call_off_in_transit", fetched("WALLET"), call_off_late, purse_is(PURSE)),
    Flow("call_off_cash_in_transit", fetched("CASH"), call_off_late, fin_is("CANCELLED")),
    Flow("refund_part", settled, refund, is_refunded),
    Flow("tip_later", settled, thank, purse_is(PURSE - MEAL - AMOUNT)),
    Flow("hand_cash_in", settled_for_cash, hand_in, is_handed_in),
    Flow("ask_payout", earned, draw, held_is(VENDOR_WALLET, DRAWN)),
    Flow("ask_payout_with_cash", rider_earned, rider_draws, held_is(RIDER_WALLET, DRAWN)),
    Flow("ask_payout_of_rider", rider_earned_only, rider_draws, held_is(RIDER_WALLET, DRAWN)),
    Flow("hear_of_payout", sent, ask_provider, payout_is("PAID"), repeated=False),
    Flow("propose_correction", nothing, propose, is_proposed),
    Flow("agree_to_correction", proposed, agree, is_corrected),
    Flow("pay_out", drawn, approve, payout_is("PAID")),
    Flow("reject_payout", drawn, turn_down, payout_is("REJECTED")),
]
