"""Orders that nobody pays or answers are called off once, with all that was held for them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from dispatch.errors import Refused
from dispatch.events.outbox import Entry
from dispatch.orders.transitions.timeouts import (
    ANSWER_MS,
    FAILED,
    NO_ANSWER,
    NOT_PAID,
    PAYMENT_MS,
)
from dispatch.wire.webhooks import FAILED as FAILURE
from dispatch.wire.webhooks import SUCCEEDED
from ledger.dynamodb.fake import Pace
from tests import virtual_time
from tests.ledger.scenarios.auditor import breaks
from tests.ledger.scenarios.flows import (
    MEAL,
    PURSE,
    Subject,
    awaited,
    placed,
    subject_of,
)
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import (
    CUSTOMER,
    STOCK,
    VENDOR,
    Node,
    Shop,
)

T = TypeVar("T")
MINUTE_S = 60.0


def tell(story: Callable[[Shop, Node], Awaitable[T]]) -> T:
    """A story of one shop on virtual time; its books are right in the end."""

    async def main() -> T:
        shop = Shop(Pace(spread=0.5, index_lag_s=1.0))
        told = await story(shop, await shop.open())
        assert breaks(shop.items()) == []
        return told

    with seeded(1):
        return virtual_time.run(main())


async def wait_ms(milliseconds: int) -> None:
    await virtual_time.clock().sleep(milliseconds / 1000)


def order_of(shop: Shop, on: Subject) -> tuple[str, str]:
    item = shop.item(f"ORDER#{on.id}", "METADATA")
    assert item is not None
    return item["status"], item.get("reason", "")


def says_of(shop: Shop, on: Subject, receiver: str) -> list[str]:
    """What a receiver was told of an order, in its order."""
    items = [item for (pk, _), item in shop.items().items() if pk.startswith("OUTBOX#")]
    entries = [msgspec.json.decode(item["entry"], type=Entry) for item in items]
    about = sorted((each for each in entries if each.order_id == on.id), key=lambda e: e.at_ms)
    return [saying.name for each in about for saying in each.says if saying.to == receiver]


def purse_of(shop: Shop) -> int:
    item = shop.item(f"WALLET#USER#{CUSTOMER}", "BALANCE")
    assert item is not None
    return item["available"]


def stock_of(shop: Shop) -> int:
    item = shop.item(f"VENDOR#{VENDOR}", "ITEM#meal")
    assert item is not None
    return item["stock"]


def test_money_that_does_not_come_is_waited_for_a_quarter_of_an_hour() -> None:
    """A second before its term the order stands; then it is off and its meal back on the shelf."""

    async def story(shop: Shop, node: Node):
        on = await awaited(node)
        shelf = [stock_of(shop)]
        await wait_ms(PAYMENT_MS - 1_000)
        early = await node.lapses.sweep_once(), order_of(shop, on)
        await wait_ms(2_000)
        late = await node.lapses.sweep_once(), order_of(shop, on)
        shelf.append(stock_of(shop))
        return early, late, shelf, says_of(shop, on, f"vendor:{VENDOR}")

    early, late, shelf, vendor_heard = tell(story)
    assert early == (0, ("PENDING", ""))
    assert late == (1, ("CANCELLED", NOT_PAID))
    assert shelf == [STOCK - 1, STOCK]
    # Nobody had shown it to him.
    assert vendor_heard == []


def test_a_vendor_who_does_not_answer_keeps_nobodys_money() -> None:
    """Paid from the wallet and never accepted: off after half an hour, and all of it is back."""

    async def story(shop: Shop, node: Node):
        on = await placed("WALLET")(node)
        await wait_ms(ANSWER_MS - 1_000)
        early = await node.lapses.sweep_once(), purse_of(shop)
        await wait_ms(2_000)
        late = await node.lapses.sweep_once(), purse_of(shop)
        return early, late, order_of(shop, on), says_of(shop, on, f"vendor:{VENDOR}")

    early, late, order, vendor_heard = tell(story)
    assert early[0] == 0
    assert early[1] < PURSE
    assert late == (1, PURSE)
    assert order == ("CANCELLED", NO_ANSWER)
    assert vendor_heard == ["new_order", "order_cancelled"]


def test_a_vendor_has_his_time_from_the_payment_on() -> None:
    """Mobile money that came late does not shorten it."""

    async def story(shop: Shop, node: Node):
        on = await awaited(node)
        await wait_ms(PAYMENT_MS - 1_000)
        await node.hear(on.payment_id, on.total, SUCCEEDED)
        await wait_ms(ANSWER_MS - 1_000)
        early = await node.lapses.sweep_once()
        await wait_ms(2_000)
        return early, await node.lapses.sweep_once(), order_of(shop, on)

    assert tell(story) == (0, 1, ("CANCELLED", NO_ANSWER))


def test_a_failed_payment_is_told_and_may_still_come() -> None:
    """The customer hears of it once; a later yes of the provider brings the order on its way."""

    async def story(shop: Shop, node: Node):
        on = await awaited(node)
        await node.hear(on.payment_id, on.total, FAILURE)
        await node.hear(on.payment_id, on.total, FAILURE)
        await node.hear(on.payment_id, on.total, SUCCEEDED)
        await node.hear(on.payment_id, on.total, FAILURE)
        await node.accept_order(on.id)
        return order_of(shop, on)[0], says_of(shop, on, f"user:{CUSTOMER}")[:1]

    assert tell(story) == ("ACCEPTED", ["payment_failed"])


def test_a_failed_payment_ends_with_its_term() -> None:
    """Whoever does not try again has no order, is told why, and nothing of his is kept."""

    async def story(shop: Shop, node: Node):
        on = await awaited(node)
        await node.hear(on.payment_id, on.total, FAILURE)
        await wait_ms(PAYMENT_MS)
        await node.lapses.sweep_once()
        await node.hear(on.payment_id, on.total, FAILURE)
        return order_of(shop, on), says_of(shop, on, f"user:{CUSTOMER}")

    assert tell(story) == (("CANCELLED", FAILED), ["payment_failed", "order_cancelled"])


def test_an_order_lapses_once_however_many_look() -> None:
    """Four processes look at the same moment: one refund, and the meal goes back once."""

    async def story(shop: Shop, node: Node):
        on = await placed("WALLET")(node)
        await wait_ms(ANSWER_MS + 2_000)
        nodes = [shop.node() for _ in range(4)]
        await asyncio.gather(*(each.lapses.sweep_once() for each in nodes))
        return order_of(shop, on)[0], purse_of(shop), stock_of(shop)

    assert tell(story) == ("CANCELLED", PURSE, STOCK)


def test_a_vendor_who_answers_at_the_last_moment_either_has_it_or_not() -> None:
    """Yes and term at once: the order is his and paid, or off and its money back; never both."""

    async def story(shop: Shop, node: Node):
        ends = set()
        for number in range(8):
            await node.top_up(PURSE, f"purse-{number}")
            on = subject_of(await node.place("WALLET", f"place-{number}"))
            before = purse_of(shop)
            await wait_ms(ANSWER_MS + 2_000)
            await asyncio.gather(
                shop.node().accept_order(on.id),
                shop.node().lapses.sweep_once(),
                return_exceptions=True,
            )
            ends.add((order_of(shop, on)[0], purse_of(shop) - before))
        return ends

    assert tell(story) <= {("ACCEPTED", 0), ("CANCELLED", MEAL)}


def test_an_order_that_went_on_does_not_lapse() -> None:
    """Accepted, carried or called off: age alone ends nothing."""

    async def story(shop: Shop, node: Node):
        on = await placed("WALLET")(node)
        await node.accept_order(on.id)
        off = subject_of(await node.place("CASH", "second"))
        await node.call_off(off.id)
        await wait_ms(10 * ANSWER_MS)
        seen = await node.lapses.sweep_once()
        try:
            await node.flow.lapse_order(on.id)
        except Refused as refused:
            return seen, order_of(shop, on)[0], refused.code.value
        return None

    assert tell(story) == (0, "ACCEPTED", "wrong_state")
