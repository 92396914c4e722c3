"""A shop in Douala on real engines: a vendor with a menu, a customer with money, riders on duty."""

from typing import Literal, cast

import pytest

from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.events.idempotency_records import receipt_for
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import Board
from dispatch.events.outbox import Outbox
from dispatch.model import Position
from dispatch.money.settlement_worker import Settler
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.service import Flow, Stores
from dispatch.orders.store import Orders
from dispatch.orders.transitions.context import OffersMade
from dispatch.orders.unit_of_work import Caller, Clerk
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.http import requests
from ledger.core.facts import TopUp
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from matching.speeds import Speeds
from tests.dispatch.dispatch_night import Night
from tests.factories import an_offer

HOME = requests.Address(lat=4.040, lng=9.695, address="Bali")


class Whereabouts:
    """Where riders were last, as the index of positions would say: all at the shop, at first."""

    def __init__(self):
        self.at = Position(lat=4.051, lng=9.708, ts=0, received_at=0)

    async def last(self, rider_id):
        """Every rider is at the same place."""
        return self.at


class Shop:
    """Everything an order needs, and short words for what its parties do."""

    def __init__(self, table, redis, scripts):
        self.clock = ManualClock()
        self.table = table
        self.inboxes = Inboxes(redis, scripts)
        self.timers = Timers(redis, scripts, "douala")
        self.board = Board(redis, scripts)
        self.outbox = Outbox(table, self.inboxes, self.timers, self.board, self.clock)
        self.ledger = Ledger(table, self.clock.now_ms)
        self.orders = Orders(table)
        self.catalogue = Catalogue(table, self.clock)
        self.config = Config(table, self.clock)
        self.riders = Riders(table, self.clock)
        self.statements = Statements(table)
        self.fence = Fence(self.clock)
        self.fence.open(1, float("inf"))
        self.speeds, self.whereabouts = Speeds(), Whereabouts()
        self.tallies = Tallies(redis, scripts, self.clock)
        self.flow = Flow(
            Stores(
                catalogue=self.catalogue,
                config=self.config,
                promotions=Promotions(table, self.clock),
                riders=self.riders,
                positions=cast("Positions", self.whereabouts),
                speeds=self.speeds,
                tallies=self.tallies,
                ledger=self.ledger,
                clerk=Clerk(table, self.ledger, self.outbox, self.clock),
                fence=self.fence,
                payment_provider="sandbox",
            ),
            self.clock,
        )
        self.settler = Settler(self.flow, self.ledger, self.clock)

    async def open(self, stock=None):
        """The vendor opens with one dish, and the customer has 100,000."""
        place = requests.Address(lat=4.051, lng=9.708, address="Akwa")
        profile = requests.VendorProfile(name="Chez Wou", location=place, online=True)
        await self.catalogue.put_vendor("ven_1", profile)
        dish = requests.CatalogueItem(name="Ndolé", price=4_000, stock=stock)
        await self.catalogue.put_item("ven_1", "ndole", dish)
        for service in ("MART", "PACKAGE"):
            on = requests.ServiceSettings(enabled=True)
            await self.config.put_service(service, on, "adm_1")
        await self.ledger.post(TopUp("usr_1", 100_000, "sandbox", "pay_first"))

    def as_(self, audience, owner, key=None):
        """A caller, who may repeat himself under `key`."""
        receipt = receipt_for(f"{audience}:{owner}", key, b"same") if key else None
        return Caller(audience=audience, id=owner, receipt=receipt)

    async def place(
        self,
        method: requests.Method = "WALLET",
        service: Literal["FOOD", "MART"] = "FOOD",
        quantity=2,
        key=None,
    ):
        """The customer orders; the order's id."""
        body = requests.GoodsOrder(
            order_type=service,
            vendor_id="ven_1",
            items=[requests.WantedItem(item_id="ndole", quantity=quantity)],
            delivery_address=HOME,
            payment_method=method,
        )
        placed = await self.flow.place_order(self.as_("user", "usr_1", key), body)
        return placed["orderId"]

    async def accept(self, order_id, key=None):
        """The vendor takes the order."""
        command = commands.AcceptOrder(order_id=order_id)
        return await self.flow.accept_order(self.as_("vendor", "ven_1", key), command)

    async def offer(self, order_id, *riders):
        """The engine asks these riders; offer ids by rider."""
        now_ms = self.clock.now_ms()
        offers = {r: an_offer(f"ofr_{r}_{order_id[-6:]}", made_at_ms=now_ms) for r in riders}
        made = OffersMade(trip_km=2.0, due_at_ms=now_ms + 2_000)
        await self.flow.make_offers(order_id, offers, made)
        return {rider: offer.offer_id for rider, offer in offers.items()}

    async def take(self, order_id, rider, offer_id, key=None):
        """A rider accepts his offer."""
        command = commands.AcceptDelivery(order_id=order_id, offer_id=offer_id)
        return await self.flow.accept_delivery(self.as_("rider", rider, key), command)

    async def carry(self, order_id, rider="rdr_1"):
        """The whole way of an accepted order to its delivery."""
        offers = await self.offer(order_id, rider)
        await self.take(order_id, rider, offers[rider])
        order = await self.orders.get(order_id)
        vendor, him = self.as_("vendor", "ven_1"), self.as_("rider", rider)
        await self.flow.arrived_pickup(him, commands.ArrivedPickup(order_id=order_id))
        await self.flow.order_ready(vendor, commands.OrderReady(order_id=order.order_id))
        await self.flow.pick_up(him, commands.PickUp(order_id=order_id))
        await self.flow.complete_delivery(him, commands.CompleteDelivery(order_id=order_id))

    async def told(self, identity):
        """What an identity was told, in order; whatever waits is relayed first."""
        return [entry.name for entry in await self.entries(identity)]

    async def entries(self, identity):
        """The same with what each says."""
        await self.relay()
        head = await self.inboxes.head(identity)
        return await self.inboxes.since(identity, head.epoch, 0) if head.epoch else []

    async def relay(self):
        """Relay everything that was written, as the sweep of another node would."""
        self.clock.advance(1_001)
        for shard in range(8):
            while await self.outbox.sweep_shard(shard):
                pass

    async def status(self, order_id):
        """Where the order stands."""
        return (await self.orders.get(order_id)).status.value

    async def has(self, kind, owner):
        """What a wallet holds."""
        return (await self.statements.balance(kind, owner))["availableBalance"]


@pytest.fixture
async def shop(table: DynamoTable, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    opened = Shop(table, redis, scripts)
    await opened.open()
    return opened


@pytest.fixture
async def night(shop: Shop, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    return Night(shop, redis, scripts)
