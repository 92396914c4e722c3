"""Orders that are not paid or not answered in time are cancelled once, and refunded."""

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
from tests.ledger.scenarios.cluster import (
    CUSTOMER,
    STOCK,
    VENDOR,
    ServerCluster,
    ServerNode,
)
from tests.ledger.scenarios.money_flows import (
    MEAL,
    WALLET_BALANCE,
    Subject,
    order_placed,
    payment_awaited,
    subject_of,
)
from tests.ledger.scenarios.seeded_randomness import seed_randomness

T = TypeVar("T")
MINUTE_S = 60.0


def run_scenario(scenario: Callable[[ServerCluster, ServerNode], Awaitable[T]]) -> T:
    """Run a scenario on virtual time; the ledger must be consistent at the end."""

    async def main() -> T:
        cluster = ServerCluster(Latencies(spread=0.5, index_lag_s=1.0))
        result = await scenario(cluster, await cluster.start())
        assert find_breaks(cluster.items()) == []
        return result

    with seed_randomness(1):
        return virtual_time.run(main())


async def wait_ms(milliseconds: int) -> None:
    await virtual_time.clock().sleep(milliseconds / 1000)


def order_status(cluster: ServerCluster, subject: Subject) -> tuple[str, str]:
    item = cluster.item(f"ORDER#{subject.id}", "METADATA")
    assert item is not None
    return item["status"], item.get("reason", "")


def event_names_for(cluster: ServerCluster, subject: Subject, receiver: str) -> list[str]:
    """The names of the events of an order for one receiver, oldest first."""
    items = [item for (pk, _), item in cluster.items().items() if pk.startswith("OUTBOX#")]
    entries = [msgspec.json.decode(item["entry"], type=OutboxEntry) for item in items]
    about = sorted((each for each in entries if each.order_id == subject.id), key=lambda e: e.at_ms)
    return [event.name for each in about for event in each.events if event.to == receiver]


def available_balance(cluster: ServerCluster) -> int:
    item = cluster.item(f"WALLET#USER#{CUSTOMER}", "BALANCE")
    assert item is not None
    return item["available"]


def meal_stock(cluster: ServerCluster) -> int:
    item = cluster.item(f"VENDOR#{VENDOR}", "ITEM#meal")
    assert item is not None
    return item["stock"]


def test_an_unpaid_order_times_out_after_15_minutes() -> None:
    """A second before it the order stands; afterwards it is cancelled and the stock is restored."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        stock = [meal_stock(cluster)]
        await wait_ms(PAYMENT_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once(), order_status(cluster, on)
        await wait_ms(2_000)
        late = await node.order_timeouts.sweep_once(), order_status(cluster, on)
        stock.append(meal_stock(cluster))
        return early, late, stock, event_names_for(cluster, on, f"vendor:{VENDOR}")

    early, late, stock, vendor_events = run_scenario(scenario)
    assert early == (0, ("PENDING", ""))
    assert late == (1, ("CANCELLED", NOT_PAID))
    assert stock == [STOCK - 1, STOCK]
    # The vendor is shown an order when it is paid.
    assert vendor_events == []


def test_an_unanswered_order_is_refunded() -> None:
    """Paid from the wallet and never accepted, it is cancelled and refunded after half an hour."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await wait_ms(VENDOR_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once(), available_balance(cluster)
        await wait_ms(2_000)
        late = await node.order_timeouts.sweep_once(), available_balance(cluster)
        return (
            early,
            late,
            order_status(cluster, on),
            event_names_for(cluster, on, f"vendor:{VENDOR}"),
        )

    early, late, order, vendor_events = run_scenario(scenario)
    assert early[0] == 0
    assert early[1] < WALLET_BALANCE
    assert late == (1, WALLET_BALANCE)
    assert order == ("CANCELLED", VENDOR_SILENT)
    assert vendor_events == ["new_order", "order_cancelled"]


def test_the_vendors_deadline_starts_at_payment() -> None:
    """A payment after 15 minutes leaves the vendor 30 minutes from then on."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await wait_ms(PAYMENT_TIMEOUT_MS - 1_000)
        await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)
        await wait_ms(VENDOR_TIMEOUT_MS - 1_000)
        early = await node.order_timeouts.sweep_once()
        await wait_ms(2_000)
        return early, await node.order_timeouts.sweep_once(), order_status(cluster, on)

    assert run_scenario(scenario) == (0, 1, ("CANCELLED", VENDOR_SILENT))


def test_a_failed_payment_is_reported_and_may_still_succeed() -> None:
    """The customer gets one event; a later success lets the vendor accept the order."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.report_payment(on.payment_id, on.total, PAYMENT_SUCCEEDED)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await node.accept_order(on.id)
        return order_status(cluster, on)[0], event_names_for(cluster, on, f"user:{CUSTOMER}")[:1]

    assert run_scenario(scenario) == ("ACCEPTED", ["payment_failed"])


def test_a_failed_payment_times_out() -> None:
    """Without a second attempt the order is cancelled, with the failure as its reason."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await payment_awaited(node)
        await node.report_payment(on.payment_id, on.total, FAILURE)
        await wait_ms(PAYMENT_TIMEOUT_MS)
        await node.order_timeouts.sweep_once()
        await node.report_payment(on.payment_id, on.total, FAILURE)
        return order_status(cluster, on), event_names_for(cluster, on, f"user:{CUSTOMER}")

    assert run_scenario(scenario) == (
        ("CANCELLED", PAYMENT_FAILED),
        ["payment_failed", "order_cancelled"],
    )


def test_an_order_times_out_once_across_nodes() -> None:
    """Four nodes sweep at once: one refund, and the stock is restored once."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await wait_ms(VENDOR_TIMEOUT_MS + 2_000)
        nodes = [cluster.add_node() for _ in range(4)]
        await asyncio.gather(*(each.order_timeouts.sweep_once() for each in nodes))
        return order_status(cluster, on)[0], available_balance(cluster), meal_stock(cluster)

    assert run_scenario(scenario) == ("CANCELLED", WALLET_BALANCE, STOCK)


def test_an_answer_at_the_deadline_either_wins_or_loses() -> None:
    """Accepted and paid, or cancelled and refunded; never both."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        ends = set()
        for number in range(8):
            await node.top_up(WALLET_BALANCE, f"fill-{number}")
            on = subject_of(await node.place_order("WALLET", f"place-{number}"))
            before = available_balance(cluster)
            await wait_ms(VENDOR_TIMEOUT_MS + 2_000)
            await asyncio.gather(
                cluster.add_node().accept_order(on.id),
                cluster.add_node().order_timeouts.sweep_once(),
                return_exceptions=True,
            )
            ends.add((order_status(cluster, on)[0], available_balance(cluster) - before))
        return ends

    assert run_scenario(scenario) <= {("ACCEPTED", 0), ("CANCELLED", MEAL)}


def test_an_order_that_progressed_does_not_time_out() -> None:
    """An accepted or cancelled order is not timed out, however old it is."""

    async def scenario(cluster: ServerCluster, node: ServerNode):
        on = await order_placed("WALLET")(node)
        await node.accept_order(on.id)
        off = subject_of(await node.place_order("CASH", "second"))
        await node.cancel_order(off.id)
        await wait_ms(10 * VENDOR_TIMEOUT_MS)
        seen = await node.order_timeouts.sweep_once()
        try:
            await node.order_service.time_out_order(OrderId(on.id))
        except Refused as refused:
            return seen, order_status(cluster, on)[0], refused.code.value
        return None

    assert run_scenario(scenario) == (0, "ACCEPTED", "wrong_state")
