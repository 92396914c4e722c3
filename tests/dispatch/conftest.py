"""A shop in Douala on real engines: a vendor with a menu, a customer with money, riders on duty."""

from typing import Literal, cast

import pytest

from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.events.idempotency_records import request_key
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import Outbox
from dispatch.model import Position
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.service import OrderService, OrderStores
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller, OrderUnitOfWork
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.http.base import Address, PaymentMethodName
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from dispatch.wire.http.profiles import VendorProfile
from dispatch.wire.http.service_rates import ServiceSettings
from ledger.core.facts import TopUp
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from matching.speeds import LearnedSpeeds
from tests.dispatch.dispatch_night import DispatchScenario
from tests.factories import an_offer

DELIVERY_ADDRESS = Address(lat=4.040, lng=9.695, address="Bali")


class FixedPositions:
    """Where riders were last, as the index of positions would say: all at the shop, at first."""

    def __init__(self):
        self.position = Position(lat=4.051, lng=9.708, ts=0, received_at=0)

    async def last_position(self, rider_id):
        """Every rider is at the same place."""
        return self.position


class OrderScenario:
    """Everything an order needs, and short words for what its parties do."""

    def __init__(self, table, redis, scripts):
        self.clock = ManualClock()
        self.table = table
        self.inboxes = Inboxes(redis, scripts)
        self.timers = Timers(redis, scripts, "douala")
        self.board = OperationsBoard(redis, scripts)
        self.outbox = Outbox(table, self.inboxes, self.timers, self.board, self.clock)
        self.ledger = Ledger(table, self.clock.now_ms)
        self.orders = OrderStore(table)
        self.catalogue = Catalogue(table, self.clock)
        self.service_rates = ServiceRates(table, self.clock)
        self.riders = Riders(table, self.clock)
        self.statements = Statements(table)
        self.fence = Fence(self.clock)
        self.fence.grant(1, float("inf"))
        self.speeds, self.positions = LearnedSpeeds(), FixedPositions()
        self.learned_stats = LearnedStats(redis, scripts, self.clock)
        self.order_service = OrderService(
            OrderStores(
                catalogue=self.catalogue,
                service_rates=self.service_rates,
                promotions=Promotions(table, self.clock),
                riders=self.riders,
                positions=cast("Positions", self.positions),
                speeds=self.speeds,
                learned_stats=self.learned_stats,
                ledger=self.ledger,
                unit_of_work=OrderUnitOfWork(table, self.ledger, self.outbox, self.clock),
                fence=self.fence,
                payment_provider="sandbox",
            ),
            self.clock,
        )
        self.settlement_worker = SettlementWorker(self.order_service, self.ledger, self.clock)

    async def open_vendor(self, stock=None):
        """The vendor opens with one dish, and the customer has 100,000."""
        place = Address(lat=4.051, lng=9.708, address="Akwa")
        profile = VendorProfile(name="Chez Wou", location=place, online=True)
        await self.catalogue.put_vendor("ven_1", profile)
        dish = CatalogueItemBody(name="Ndolé", price=4_000, stock=stock)
        await self.catalogue.put_item("ven_1", "ndole", dish)
        for service in ("MART", "PACKAGE"):
            on = ServiceSettings(enabled=True)
            await self.service_rates.put_service(service, on, "adm_1")
        await self.ledger.post(TopUp("usr_1", 100_000, "sandbox", "pay_first"))

    def caller(self, audience, owner, key=None):
        """A caller, who may repeat himself under `key`."""
        receipt = request_key(f"{audience}:{owner}", key, b"same") if key else None
        return Caller(audience=audience, id=owner, request_key=receipt)

    async def place_order(
        self,
        method: PaymentMethodName = "WALLET",
        service: Literal["FOOD", "MART"] = "FOOD",
        quantity=2,
        key=None,
    ):
        """The customer orders; the order's id."""
        body = GoodsOrder(
            order_type=service,
            vendor_id="ven_1",
            items=[BasketItem(item_id="ndole", quantity=quantity)],
            delivery_address=DELIVERY_ADDRESS,
            payment_method=method,
        )
        placed = await self.order_service.place_order(self.caller("user", "usr_1", key), body)
        return placed["orderId"]

    async def accept_order(self, order_id, key=None):
        """The vendor takes the order."""
        command = commands.AcceptOrder(order_id=order_id)
        return await self.order_service.accept_order(self.caller("vendor", "ven_1", key), command)

    async def make_offers(self, order_id, *riders):
        """The engine asks these riders; offer ids by rider."""
        now_ms = self.clock.now_ms()
        offers = {r: an_offer(f"ofr_{r}_{order_id[-6:]}", made_at_ms=now_ms) for r in riders}
        made = OfferFacts(trip_km=2.0, due_at_ms=now_ms + 2_000)
        await self.order_service.make_offers(order_id, offers, made)
        return {rider: offer.offer_id for rider, offer in offers.items()}

    async def accept_delivery(self, order_id, rider, offer_id, key=None):
        """A rider accepts his offer."""
        command = commands.AcceptDelivery(order_id=order_id, offer_id=offer_id)
        return await self.order_service.accept_delivery(self.caller("rider", rider, key), command)

    async def deliver(self, order_id, rider="rdr_1"):
        """The whole way of an accepted order to its delivery."""
        offers = await self.make_offers(order_id, rider)
        await self.accept_delivery(order_id, rider, offers[rider])
        order = await self.orders.get(order_id)
        vendor, him = self.caller("vendor", "ven_1"), self.caller("rider", rider)
        await self.order_service.arrived_pickup(him, commands.ArrivedPickup(order_id=order_id))
        await self.order_service.order_ready(vendor, commands.OrderReady(order_id=order.order_id))
        await self.order_service.pick_up(him, commands.PickUp(order_id=order_id))
        await self.order_service.complete_delivery(
            him, commands.CompleteDelivery(order_id=order_id)
        )

    async def event_names(self, identity):
        """What an identity was told, in order; whatever waits is relayed first."""
        return [entry.name for entry in await self.inbox_entries(identity)]

    async def inbox_entries(self, identity):
        """The same with what each says."""
        await self.relay_outbox()
        head = await self.inboxes.head(identity)
        return await self.inboxes.events_after(identity, head.epoch, 0) if head.epoch else []

    async def relay_outbox(self):
        """Relay everything that was written, as the sweep of another node would."""
        self.clock.advance(1_001)
        for shard in range(8):
            while await self.outbox.sweep_shard(shard):
                pass

    async def status(self, order_id):
        """Where the order stands."""
        return (await self.orders.get(order_id)).status.value

    async def wallet_balance(self, kind, owner):
        """What a wallet holds."""
        return (await self.statements.balance(kind, owner))["availableBalance"]


@pytest.fixture
async def order_scenario(table: DynamoTable, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    opened = OrderScenario(table, redis, scripts)
    await opened.open_vendor()
    return opened


@pytest.fixture
async def dispatch_scenario(order_scenario: OrderScenario, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    return DispatchScenario(order_scenario, redis, scripts)
