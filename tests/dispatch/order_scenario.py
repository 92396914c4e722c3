"""A vendor in Douala on real engines: its catalogue, a customer with money, and riders."""

from typing import Literal, cast

from dispatch.accounts.people import People, Person, register_person
from dispatch.accounts.revocations import Revocations
from dispatch.accounts.standing import Standing, StandingRules
from dispatch.accounts.standing_decisions import StandingDecision, StandingDecisions
from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.events.alerts import Alerts
from dispatch.events.idempotency_records import request_key
from dispatch.events.inbox import InboxEntry, Inboxes
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import Outbox, RelayTargets
from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import Order, Position
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.unit_of_work import Caller, OrderUnitOfWork
from dispatch.orders.use_cases.base import OrderStores
from dispatch.riders.store import Riders
from dispatch.service_area import ServiceArea
from dispatch.storage.leases import Fence
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
from dispatch.wire import commands
from dispatch.wire.http.base import Address, OwnerType, PaymentMethodName
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.orders import (
    BasketItem,
    GoodsOrder,
    PackageOrder,
    ParcelDetails,
    Recipient,
)
from dispatch.wire.http.profiles import VendorProfile
from dispatch.wire.http.service_rates import ServiceSettings
from dispatch.wire.phones import Phone
from dispatch.wire.snapshots import Snapshot
from ledger.core.facts import TopUp
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from matching.speeds import LearnedSpeeds
from tests.factories import an_offer

DELIVERY_ADDRESS = Address(lat=4.040, lng=9.695, address="Bali")


class FixedPositions:
    """The last position of every rider: at first at the vendor's."""

    def __init__(self) -> None:
        self.position = Position(lat=4.051, lng=9.708, ts=0, received_at=0)

    async def last_position(self, _rider_id: str) -> Position | None:
        """The same position for every rider."""
        return self.position


class OrderScenario:
    """Everything an order needs, and short names for what its parties do."""

    def __init__(self, table: DynamoTable, redis: RedisClients, scripts: Scripts) -> None:
        self.clock = ManualClock()
        self.table = table
        self.inboxes = Inboxes(redis, scripts)
        self.timers = Timers(redis, scripts, "douala")
        self.board = OperationsBoard(redis, scripts)
        self.alerts = Alerts(redis, scripts)
        targets = RelayTargets(self.inboxes, self.timers, self.board, self.alerts)
        self.outbox = Outbox(table, targets, self.clock)
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
        self.unit_of_work = OrderUnitOfWork(table, self.ledger, self.outbox, self.clock)
        self.offer_policies = OfferPolicyStore(table, self.clock, "douala")
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
                unit_of_work=self.unit_of_work,
                fence=self.fence,
                payment_provider="sandbox",
                service_area=ServiceArea(),
                offer_policies=self.offer_policies,
            ),
            self.clock,
        )
        self.people = People(table, StandingRules())
        revocations = Revocations(table, redis, self.clock)
        self.standing_decisions = StandingDecisions(table, self.people, revocations, self.clock)
        self.settlement_worker = SettlementWorker(self.order_service, self.ledger, self.clock)

    async def open_vendor(self, stock: int | None = None) -> None:
        """The vendor opens with one dish for 4,000, and the customer gets 100,000."""
        place = Address(lat=4.051, lng=9.708, address="Akwa")
        profile = VendorProfile(name="Chez Wou", location=place, online=True)
        await self.catalogue.put_vendor("ven_1", profile)
        dish = CatalogueItemBody(name="Ndolé", price=4_000, stock=stock)
        await self.catalogue.put_item("ven_1", "ndole", dish)
        for service in ("MART", "PACKAGE"):
            enabled = ServiceSettings(enabled=True)
            await self.service_rates.put_service(service, enabled, "adm_1")
        await self.ledger.post(TopUp("usr_1", 100_000, "sandbox", "pay_first"))

    async def set_standing(self, user_type: OwnerType, person_id: str, standing: Standing) -> None:
        """An operator decides about a person."""
        decision = StandingDecision(user_type, person_id, standing, "a test")
        await self.standing_decisions.decide(decision, "adm_1", None)

    async def register(self, user_type: OwnerType, person_id: str) -> None:
        """A person registers here, and waits for approval."""
        person = Person(
            person_id=person_id, user_type=user_type, standing=Standing.PENDING, reason="a test"
        )
        await self.table.transact([register_person(person, self.clock.now_ms())])

    async def reopen_vendor(self) -> None:
        """The vendor's profile says that it is open, whatever its standing."""
        await self.catalogue.put_vendor("ven_1", VendorProfile(online=True))

    def caller(self, audience: str, owner: str, key: str | None = None) -> Caller:
        """A caller, with an idempotency key where one is given."""
        idempotency_key = request_key(f"{audience}:{owner}", key, b"same") if key else None
        return Caller(audience=audience, id=owner, request_key=idempotency_key)

    async def place_order(
        self,
        method: PaymentMethodName = "WALLET",
        service: Literal["FOOD", "MART"] = "FOOD",
        quantity: int = 2,
        key: str | None = None,
    ) -> OrderId:
        """The customer places an order; its id."""
        body = GoodsOrder(
            order_type=service,
            vendor_id="ven_1",
            items=[BasketItem(item_id="ndole", quantity=quantity)],
            delivery_address=DELIVERY_ADDRESS,
            payment_method=method,
        )
        placed = await self.order_service.place_order(self.caller("user", "usr_1", key), body)
        return OrderId(placed["orderId"])

    async def place_parcel(self) -> Snapshot:
        """The customer orders a parcel over two kilometres, paid from the wallet."""
        body = PackageOrder(
            order_type="PACKAGE",
            pickup=Address(lat=4.05, lng=9.70),
            dropoff=Address(lat=4.068, lng=9.70),
            package_details=ParcelDetails(category="documents", weight=1.0),
            recipient=Recipient(name="Awa", phone=Phone("+237600000000")),
            payment_method="WALLET",
        )
        return await self.order_service.place_order(self.caller("user", "usr_1"), body)

    async def accept_order(self, order_id: OrderId, key: str | None = None) -> Snapshot:
        """The vendor accepts the order."""
        command = commands.AcceptOrder(order_id=order_id)
        return await self.order_service.accept_order(self.caller("vendor", "ven_1", key), command)

    async def make_offers(self, order_id: OrderId, *rider_ids: str) -> dict[str, OfferId]:
        """The engine asks these riders; the offer ids by rider."""
        now_ms = self.clock.now_ms()
        offers = {
            RiderId(rider_id): an_offer(f"ofr_{rider_id}_{order_id[-6:]}", made_at_ms=now_ms)
            for rider_id in rider_ids
        }
        facts = OfferFacts(offers=offers, trip_km=2.0, due_at_ms=now_ms + 2_000)
        await self.order_service.make_offers(order_id, facts)
        return {rider_id: offer.offer_id for rider_id, offer in offers.items()}

    async def accept_delivery(
        self, order_id: OrderId, rider_id: str, offer_id: str, key: str | None = None
    ) -> Snapshot:
        """A rider accepts an offer."""
        command = commands.AcceptDelivery(order_id=order_id, offer_id=offer_id)
        return await self.order_service.accept_delivery(
            self.caller("rider", rider_id, key), command
        )

    async def assign(self, order_id: OrderId, rider_id: str = "rdr_1") -> None:
        """The engine offers the order to one rider, who accepts."""
        offers = await self.make_offers(order_id, rider_id)
        await self.accept_delivery(order_id, rider_id, offers[rider_id])

    async def deliver(self, order_id: OrderId, rider_id: str = "rdr_1") -> None:
        """Take an accepted order from its offer to its delivery."""
        await self.assign(order_id, rider_id)
        vendor, rider = self.caller("vendor", "ven_1"), self.caller("rider", rider_id)
        service = self.order_service
        await service.arrived_pickup(rider, commands.ArrivedPickup(order_id=order_id))
        await service.order_ready(vendor, commands.OrderReady(order_id=order_id))
        await service.pick_up(rider, commands.PickUp(order_id=order_id))
        await service.complete_delivery(rider, commands.CompleteDelivery(order_id=order_id))

    async def cancel_order(self, order_id: OrderId) -> Snapshot:
        """The customer cancels the order."""
        command = commands.CancelOrder(order_id=order_id)
        return await self.order_service.cancel_order(self.caller("user", "usr_1"), command)

    async def event_names(self, identity: str) -> list[str]:
        """The names of the events in an inbox, oldest first; the outbox is relayed before."""
        return [entry.name for entry in await self.inbox_entries(identity)]

    async def inbox_entries(self, identity: str) -> list[InboxEntry]:
        """The events in an inbox, oldest first; the outbox is relayed before."""
        await self.relay_outbox()
        head = await self.inboxes.head(identity)
        entries = await self.inboxes.events_after(identity, head.epoch, 0) if head.epoch else []
        assert entries is not None, "the inbox has lost nothing"
        return entries

    async def relay_outbox(self) -> None:
        """Relay everything that was written, as the sweep of another node would."""
        self.clock.advance(1_001)
        for shard in range(8):
            while await self.outbox.sweep_shard(shard):
                pass

    async def order(self, order_id: OrderId) -> Order:
        """The order as it is stored."""
        order = await self.orders.get(order_id)
        assert order is not None
        return order

    async def status(self, order_id: OrderId) -> str:
        """The order's status."""
        return (await self.order(order_id)).status.value

    async def wallet_balance(self, kind: str, owner: str) -> int:
        """The balance of a wallet. Units: whole XAF."""
        return (await self.statements.balance(kind, owner))["availableBalance"]

    async def account_balances(self) -> dict[str, int]:
        """The balance of every account, which add up to zero. Units: whole XAF."""
        trial = await self.statements.trial_balance()
        assert trial["total"] == 0
        return {row["account"]: row["balance"] for row in trial["accounts"]}
