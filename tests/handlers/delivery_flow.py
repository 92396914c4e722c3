"""Delivers orders in HTTP tests: the vendor's, the engine's and the rider's steps."""

from typing import Any

from dispatch.catalogue.promotions import Promotions
from dispatch.events.alerts import Alerts
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import Outbox, RelayTargets
from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import Offer, Position
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller, OrderUnitOfWork
from dispatch.orders.use_cases.base import OrderStores
from dispatch.service_area import ServiceArea
from dispatch.storage.leases import Fence
from dispatch.storage.redis_client import Scripts
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire import commands
from matching.speeds import LearnedSpeeds
from tests.handlers.http_api import ADA, AWA, CHEZ_ADA, ApiClient, goods_order

VENDOR = Caller(audience="vendor", id=CHEZ_ADA[1])
RIDER = Caller(audience="rider", id=AWA[1])


def live_engine(api: ApiClient) -> OrderService:
    """The order service of a node that holds the zone's lease."""
    scripts = Scripts(api.redis.commands)
    outbox = Outbox(
        api.table,
        RelayTargets(
            Inboxes(api.redis, scripts),
            Timers(api.redis, scripts, "douala"),
            OperationsBoard(api.redis, scripts),
            Alerts(api.redis, scripts),
        ),
        api.clock,
    )
    fence = Fence(api.clock)
    fence.grant(1, float("inf"))
    stores = OrderStores(
        catalogue=api.services.catalogue,
        service_rates=api.services.service_rates,
        promotions=Promotions(api.table, api.clock),
        riders=api.services.riders,
        positions=api.services.positions,
        speeds=LearnedSpeeds(),
        learned_stats=LearnedStats(api.redis, scripts, api.clock, 1.0),
        ledger=api.ledger,
        unit_of_work=OrderUnitOfWork(api.table, api.ledger, outbox, api.clock),
        fence=fence,
        payment_provider="sandbox",
        service_area=ServiceArea(),
        offer_policies=OfferPolicyStore(api.table, api.clock, "douala"),
    )
    return OrderService(stores, api.clock)


async def accept_delivery(api: ApiClient, order_id: str) -> None:
    """Accept an order as vendor, offer it as engine, and accept it as rider."""
    orders, now_ms = api.services.order_service, api.clock.now_ms()
    await orders.accept_order(VENDOR, commands.AcceptOrder(order_id=order_id))
    await orders.order_ready(VENDOR, commands.OrderReady(order_id=order_id))
    offer = Offer(
        offer_id=OfferId("ofr_1"),
        wave=1,
        made_at_ms=now_ms,
        expires_at_ms=now_ms + 15_000,
        deadline_ms=now_ms + 18_000,
        distance_km=1.0,
    )
    offers = {RiderId(AWA[1]): offer}
    facts = OfferFacts(offers=offers, due_at_ms=now_ms + 18_000, trip_km=1.0)
    await live_engine(api).make_offers(OrderId(order_id), facts)
    accepted = commands.AcceptDelivery(order_id=order_id, offer_id="ofr_1")
    await orders.accept_delivery(RIDER, accepted)


async def complete_delivery(api: ApiClient, order_id: str, cash: int | None = None) -> None:
    """Pick an accepted order up and deliver it; its money is not settled yet."""
    orders = api.services.order_service
    await orders.pick_up(RIDER, commands.PickUp(order_id=order_id))
    command = commands.CompleteDelivery(order_id=order_id, cash_collected=cash)
    await orders.complete_delivery(RIDER, command)


async def deliver(api: ApiClient, order_id: str, cash: int | None = None) -> None:
    """Take a placed order all the way until it is settled."""
    await accept_delivery(api, order_id)
    await complete_delivery(api, order_id, cash)
    await api.services.order_service.settle(OrderId(order_id))


async def deliver_order(api: ApiClient) -> dict[str, Any]:
    """Place, deliver and settle an order of 5,000 plus 1,500 delivery fee, paid from the wallet."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order = (await api.request(ADA, "POST /orders", goods_order())).data
    await deliver(api, order["orderId"])
    return order


async def deliver_cash_order(api: ApiClient, cash: int | None = None) -> str:
    """The same order paid in cash at the door, by default its price; returns its id."""
    await api.open_shop()
    order = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data
    await deliver(api, order["orderId"], cash)
    return order["orderId"]


async def put_trail(api: ApiClient, order_id: str, *lats: float) -> None:
    """Write positions of the order's rider, as its node's Redis writer does."""
    fixes = [Position(lat=lat, lng=9.7, ts=i, received_at=i) for i, lat in enumerate(lats, 1)]
    facts = RiderFacts(available=True, active=1)
    trail = [(order_id, fix) for fix in fixes]
    update = PositionUpdate(
        rider_id=AWA[1], position=fixes[-1], facts=facts, cell=None, trail=trail
    )
    await api.services.positions.put([update])
