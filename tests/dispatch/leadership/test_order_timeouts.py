"""Orders that nobody pays or answers are called off once, with all that was held for them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from dispatch.errors import Refused
from dispatch.events.outbox import OutboxEntry
from dispatch.ids import OrderId
from dispatch.orders.transitions.timeouts import (
    NOT_PAID,
    PAYMENT_FAILED,
    PAYMENT_TIMEOUT_MS,
    VENDOR_SILENT,
    VENDOR_TIMEOUT_MS,
)
from dispatch.wire.webhooks import PAYMENT_FAILED as FAILURE
from dispatch.wire.webhooks import PAYMENT_SUCCEEDED
from ledger.dynamodb.fake import Latencies
from tests import virtual_time
from tests.ledger.scenarios.auditor import find_breaks
from tests.ledger.scenarios.flows import (
    MEAL,
    WALLET_BALANCE,
    Subject,
    order_placed,
    payment_awaited,
    subject_of,
)
from tests.ledger.scenarios.random_choices import seed_randomness
from tests.ledger.scenarios.shop import (
    CUSTOMER,
    STOCK,
    VENDOR,
    ServerCluster,
    ServerNode,
)

T = TypeVar("T")
MINUTE_S = 60.0


def run_story(story: Callable[[ServerCluster, ServerNode], Awaitable[T]]) -> T:
    """A story of one shop on virtual time; its books are right in the end."""

    async def main() -> T:
        shop = ServerCluster(Latencies(spread=0.5, index_lag_s=1.0))
        told = await story(shop, await shop.start())
        assert find_breaks(shop.items()) == []
        return told

    with seed_randomness(1):
        return virtual_time.run(main())


async def wait_ms(milliseconds: int) -> None:
    await virtual_time.clock().sleep(milliseconds / 1000)


def order_status(shop: ServerCluster, subject: Subject) -> tuple[str, str]:
    item = shop.item(f"ORDER#{subject.id}", "METADATA")
    assert item is not None
    return item["status"], item.get("reason", "")


def event_names_for(shop: ServerCluster, subject: Subject, receiver: str) -> list[str]:
    """What a receiver was told of an order, in its order."""
    items = [item for (pk, _), item in shop.items().items() if pk.startswith("OUTBOX#")]
    entries = [msgspec.json.decode(item["entry"], type=OutboxEntry) for item in items]
    about = sorted((each for each in entries if each.order_id == subject.id), key=lambda e: e.at_ms)
    return [saying.name for each in about for saying in each.events if saying.to == receiver]


def available_balance(shop: ServerCluster) -> int:
    item = shop.item(f"WALLET#USER#{CUSTOMER}", "BALANCE")
    assert item is not None
    return item["available"]


def meal_stock(shop: ServerCluster) -> int:
    item = shop.item(f"VENDOR#{VENDOR}", "ITEM#meal")
    assert item is not None
    return item["stock"]


def test_an_unpaid_order_times_out_after_15_minutes() -> None:
    """A second before its term the order stands; then it is off and its meal back on the shelf."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        shelf = [meal_stock(shop)]
        await wait_ms(PAYMENT_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once(), order_status(shop, on)
        await wait_ms(2_000)
        late = await node.order_timeouts.sweep_once(), order_status(shop, on)
        shelf.append(meal_stock(shop))
        return early, late, shelf, event_names_for(shop, on, f"vendor:{VENDOR}")

    early, late, shelf, vendor_heard = run_story(story)
    assert early == (0, ("PENDING", ""))
    assert late == (1, ("CANCELLED", NOT_PAID))
    assert shelf == [STOCK - 1, STOCK]
    # Nobody had shown it to him.
    assert vendor_heard == []


def test_an_unanswered_order_is_refunded() -> None:
    """Paid from the wallet and never accepted: off after half an hour, and all of it is back."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await wait_ms(VENDOR_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once(), available_balance(shop)
        await wait_ms(2_000)
        late = await node.order_timeouts.sweep_once(), available_balance(shop)
        return early, late, order_status(shop, on), event_names_for(shop, on, f"vendor:{VENDOR}")

    early, late, order, vendor_heard = run_story(story)
    assert early[0] == 0
    assert early[1] < WALLET_BALANCE
    assert late == (1, WALLET_BALANCE)
    assert order == ("CANCELLED", VENDOR_SILENT)
    assert vendor_heard == ["new_order", "order_cancelled"]


def test_the_vendors_deadline_starts_at_payment() -> None:
    """Mobile money that came late does not shorten it."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await wait_ms(PAYMENT_TIMEOUT_MS - 1_000)
        await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)
        await wait_ms(VENDOR_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once()
        await wait_ms(2_000)
        return early, await node.order_timeouts.sweep_once(), order_status(shop, on)

    assert run_story(story) == (0, 1, ("CANCELLED", VENDOR_SILENT))


def test_a_failed_payment_is_reported_and_may_still_succeed() -> None:
    """The customer hears of it once; a later yes of the provider brings the order on its way."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.accept_order(on.id)
        return order_status(shop, on)[0], event_names_for(shop, on, f"user:{CUSTOMER}")[:1]

    assert run_story(story) == ("ACCEPTED", ["payment_failed"])


def test_a_failed_payment_ends_with_its_term() -> None:
    """Whoever does not try again has no order, is told why, and nothing of his is kept."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await wait_ms(PAYMENT_TIMEOUT_MS)
        await node.order_timeouts.sweep_once()
        await node.report_payment(on.payment_id, on.total, FAILURE)
        return order_status(shop, on), event_names_for(shop, on, f"user:{CUSTOMER}")

    assert run_story(story) == (
        ("CANCELLED", PAYMENT_FAILED),
        ["payment_failed", "order_cancelled"],
    )


def test_an_order_times_out_once_across_nodes() -> None:
    """Four processes look at the same moment: one refund, and the meal goes back once."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await wait_ms(VENDOR_TIMEOUT_MS + 2_000)
        nodes = [shop.add_node() for _ in range(4)]
        await asyncio.gather(*(each.order_timeouts.sweep_once() for each in nodes))
        return order_status(shop, on)[0], available_balance(shop), meal_stock(shop)

    assert run_story(story) == ("CANCELLED", WALLET_BALANCE, STOCK)


def test_a_vendor_who_answers_at_the_last_moment_either_has_it_or_not() -> None:
    """Yes and term at once: the order is his and paid, or off and its money back; never both."""

    async def story(shop: ServerCluster, node: ServerNode):
        ends = set()
        for number in range(8):
            await node.top_up(WALLET_BALANCE, f"purse-{number}")
            on = subject_of(await node.place_order("WALLET", f"place-{number}"))
            before = available_balance(shop)
            await wait_ms(VENDOR_TIMEOUT_MS + 2_000)
            await asyncio.gather(
                shop.add_node().accept_order(on.id),
                shop.add_node().order_timeouts.sweep_once(),
                return_exceptions=True,
            )
            ends.add((order_status(shop, on)[0], available_balance(shop) - before))
        return ends

    assert run_story(story) <= {("ACCEPTED", 0), ("CANCELLED", MEAL)}


def test_an_order_that_progressed_does_not_time_out() -> None:
    """Accepted, carried or called off: age alone ends nothing."""

    async def story(shop: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await node.accept_order(on.id)
        off = subject_of(await node.place_order("CASH", "second"))
        await node.cancel_order(off.id)
        await wait_ms(10 * VENDOR_TIMEOUT_MS)
        seen = await node.order_timeouts.sweep_once()
        try:
            await node.order_service.time_out_order(OrderId(on.id))
        except Refused as refused:
            return seen, order_status(shop, on)[0], refused.code.value
        return None

    assert run_story(story) == (0, "ACCEPTED", "wrong_state")
