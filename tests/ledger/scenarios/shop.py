"""The house without sockets and Redis, on a fake DynamoDB: all that moves money."""

from typing import Any, NoReturn, cast

import msgspec
import structlog

from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import receipt_for
from dispatch.events.outbox import Outbox
from dispatch.leadership.order_timeouts import Lapses
from dispatch.model import Offer
from dispatch.money.corrections import Bursar
from dispatch.money.payments import Cashier, Tills
from dispatch.money.payout_providers import SANDBOX, Provider, Sandbox
from dispatch.money.payouts import Payer
from dispatch.money.settlement_worker import Settler
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.service import Flow, Stores
from dispatch.orders.store import Orders
from dispatch.orders.transitions.context import OffersMade
from dispatch.orders.unit_of_work import Caller, Clerk
from dispatch.riders.store import Riders
from dispatch.storage.leases import Fence
from dispatch.wire import commands
from dispatch.wire.http import requests
from dispatch.wire.webhooks import PaymentEvent, PaymentNews
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, Faults, Pace
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import Item
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from matching.speeds import Speeds
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items, items_of

TABLE = "shop"
CUSTOMER, VENDOR, RIDER = "usr_1", "ven_1", "rdr_1"
PROVIDER = "momo"
PROMO = "MEAL1000"
STOCK = 1_000_000
PRICE = 10_000
DOUALA = requests.Address(lat=4.05, lng=9.70)
# Longer than any fault plan lets an order wait for a rider's answer.
PATIENCE_MS = 3_600_000
DAY_MS = 86_400_000

Answer = dict[str, Any]


class Nowhere:
    """A Redis that is away: nobody knows where the riders are."""

    commands = None

    async def last(self, rider_id: str) -> NoReturn:
        raise StoreUnavailable("redis", "away")


class Node:
    """One process of the house; what it remembers dies with it."""

    def __init__(self, fake: FakeDynamo, clock: Clock, provider: Provider | None = None) -> None:
        self.clock = clock
        self.table = DynamoTable(fake, TABLE)
        self.ledger = Ledger(self.table, clock.now_ms)
        self.statements = Statements(self.table)
        self.catalogue = Catalogue(self.table, clock)
        self.promotions = Promotions(self.table, clock)
        away = cast("Any", None)
        outbox = Outbox(self.table, away, away, away, clock)
        # No lease is asked for where there is no Redis.
        fence = Fence(clock)
        fence.open(1, float("inf"))
        stores = Stores(
            catalogue=self.catalogue,
            config=Config(self.table, clock),
            promotions=self.promotions,
            riders=Riders(self.table, clock),
            positions=cast("Any", Nowhere()),
            speeds=Speeds(),
            tallies=Tallies(cast("Any", Nowhere()), away, clock),
            ledger=self.ledger,
            clerk=Clerk(self.table, self.ledger, outbox, clock),
            fence=fence,
            payment_provider=PROVIDER,
        )
        self.flow = Flow(stores, clock)
        self.settler = Settler(self.flow, self.ledger, clock)
        self.lapses = Lapses(self.flow, Orders(self.table), clock)
        self.payer = Payer(self.table, self.ledger, (SANDBOX, provider or Sandbox()), clock)
        self.bursar = Bursar(self.table, self.ledger, clock)
        tills = Tills(sandbox=True, webhooks=True)
        self.cashier = Cashier(self.table, self.ledger, self.flow, tills, clock)

    # What each party asks; `name` is under which he repeats it.

    async def top_up(self, amount: int, name: str, provider: str = "sandbox") -> Answer:
        """The customer fills his wallet."""
        body = requests.TopUp(amount=amount, provider=provider)
        return await self.cashier.top_up(caller("user", CUSTOMER, name, body), body)

    async def hear(self, payment_id: str, amount: int, event: str) -> Answer:
        """The provider says what came of a payment."""
        news = PaymentNews(payment_id=payment_id, amount=amount, currency="XAF")
        said = PaymentEvent(type=event, data=news)
        receipt = receipt_for("provider", f"{event}-{payment_id}", said)
        return await self.cashier.news(PROVIDER, said, receipt)

    async def promise(self, **terms: Any) -> Answer:
        """An operator makes a promotion: 1,000 off any meal, once, for three of them."""
        usual = {"amount": 1_000, "budget": 3_000, "endsAt": virtual_time.START_MS + DAY_MS}
        body = {"code": PROMO, "services": ["FOOD"], **usual, **terms}
        asked = msgspec.convert(body, requests.NewPromotion)
        receipt = receipt_for("adm_1", "promise", asked)
        return await self.promotions.create(asked, "adm_1", receipt)

    async def place(
        self, method: requests.Method, name: str, promo_code: str | None = None
    ) -> Answer:
        """The customer orders one meal."""
        body = requests.GoodsOrder(
            order_type="FOOD",
            vendor_id=VENDOR,
            items=[requests.WantedItem(item_id="meal", quantity=1)],
            delivery_address=DOUALA,
            payment_method=method,
            promo_code=promo_code,
        )
        return await self.flow.place_order(caller("user", CUSTOMER, name, body), body)

    async def accept_order(self, order_id: str) -> Answer:
        """The vendor takes the order."""
        said = commands.AcceptOrder(order_id=order_id)
        return await self.flow.accept_order(
            caller("vendor", VENDOR, f"take-{order_id}", said), said
        )

    async def reject_order(self, order_id: str) -> Answer:
        """The vendor turns the order down."""
        said = commands.RejectOrder(order_id=order_id, reason="closed")
        return await self.flow.reject_order(caller("vendor", VENDOR, f"no-{order_id}", said), said)

    async def offer(self, order_id: str, rider: str = RIDER) -> None:
        """The engine asks one rider."""
        now_ms = self.clock.now_ms()
        asked = Offer(
            offer_id=f"ofr_{rider}_{order_id}",
            wave=1,
            made_at_ms=now_ms,
            expires_at_ms=now_ms + PATIENCE_MS,
            deadline_ms=now_ms + PATIENCE_MS,
            distance_km=1.0,
        )
        made = OffersMade(trip_km=1.0, due_at_ms=now_ms + PATIENCE_MS)
        await self.flow.make_offers(order_id, {rider: asked}, made)

    async def take(self, order_id: str, rider: str = RIDER) -> Answer:
        """The rider accepts."""
        said = commands.AcceptDelivery(order_id=order_id, offer_id=f"ofr_{rider}_{order_id}")
        by = caller("rider", rider, f"take-{order_id}", said)
        return await self.flow.accept_delivery(by, said)

    async def give_back(self, order_id: str, rider: str = RIDER) -> Answer:
        """The rider gives the order back."""
        said = commands.ReleaseDelivery(order_id=order_id, reason="a flat tyre")
        by = caller("rider", rider, f"back-{order_id}", said)
        return await self.flow.release_delivery(by, said)

    async def fetch(self, order_id: str, rider: str = RIDER) -> None:
        """The goods are made and fetched."""
        ready = commands.OrderReady(order_id=order_id)
        await self.flow.order_ready(caller("vendor", VENDOR, f"ready-{order_id}", ready), ready)
        said = commands.PickUp(order_id=order_id)
        await self.flow.pick_up(caller("rider", rider, f"fetch-{order_id}", said), said)

    async def bring(self, order_id: str, rider: str = RIDER) -> Answer:
        """The goods are handed over."""
        said = commands.CompleteDelivery(order_id=order_id)
        by = caller("rider", rider, f"bring-{order_id}", said)
        return await self.flow.complete_delivery(by, said)

    async def call_off(self, order_id: str) -> Answer:
        """The customer thinks again."""
        said = commands.CancelOrder(order_id=order_id, reason="no longer hungry")
        return await self.flow.cancel_order(caller("user", CUSTOMER, f"off-{order_id}", said), said)

    async def draw(
        self, amount: int, name: str, owner: str = VENDOR, to: str = "+237 670"
    ) -> Answer:
        """The vendor, or a rider, asks for a payout."""
        body = requests.PayoutRequest(amount=amount, destination=to)
        audience = "vendor" if owner == VENDOR else "rider"
        return await self.payer.request(caller(audience, owner, name, body), body)

    async def approve(self, payout_id: str) -> Answer:
        """Another person agrees to a payout."""
        return await self.payer.approve(caller("ops", "adm_1", f"yes-{payout_id}", None), payout_id)

    async def reject(self, payout_id: str) -> Answer:
        """An operator does not agree to a payout."""
        by = caller("ops", "adm_2", f"no-{payout_id}", None)
        return await self.payer.reject(by, payout_id, "unknown")

    async def refund(self, order_id: str, amount: int, name: str) -> Answer:
        """An operator gives a part of a settled order back."""
        body = requests.Refund(amount=amount, reason="cold")
        return await self.bursar.refund(caller("ops", "adm_1", name, body), order_id, body)

    async def tip(self, order_id: str, amount: int, name: str) -> Answer:
        """The customer thanks the rider."""
        return await self.bursar.tip(caller("user", CUSTOMER, name, amount), order_id, amount)

    async def correct(self, amount: int) -> str:
        """An operator writes down that the vendor is owed something; the correction's id."""
        legs = [
            requests.Correction(account=f"VENDOR#{VENDOR}", amount=amount),
            requests.Correction(account="CLEARING#BANK.0", amount=-amount),
        ]
        body = requests.Adjustment(legs=legs, reason="forgotten")
        by = caller("ops", "adm_1", "correct", body)
        return (await self.bursar.propose(by, body))["adjustmentId"]

    async def agree(self, adjustment_id: str) -> Answer:
        """Another operator agrees to a correction."""
        by = caller("ops", "adm_2", f"agree-{adjustment_id}", None)
        return await self.bursar.agree(by, adjustment_id)

    async def remit(self, amount: int, name: str) -> Answer:
        """The rider hands cash in."""
        body = requests.Remittance(amount=amount, reference=name)
        return await self.bursar.remit(caller("ops", "adm_1", name, body), RIDER, body)


class Shop:
    """A table on a fake DynamoDB with a vendor, and as many processes as a story needs."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.clock = virtual_time.clock()
        self.fake = FakeDynamo(self.clock.monotonic_s, self.clock.sleep, pace)
        # It outlives every process of ours.
        self.provider = Sandbox()

    async def open(self) -> Node:
        """Make the table and the vendor's shelf; a first process."""
        node = self.node()
        await ensure_table(node.table)
        profile = requests.VendorProfile(location=DOUALA, online=True)
        await node.catalogue.put_vendor(VENDOR, profile)
        meal = requests.CatalogueItem(name="ndole", price=PRICE, stock=STOCK)
        await node.catalogue.put_item(VENDOR, "meal", meal)
        return node

    def node(self) -> Node:
        """Another process."""
        return Node(self.fake, self.clock, self.provider)

    def go_wrong(self, faults: Faults) -> None:
        """From now on calls fail by this plan."""
        self.fake.faults = faults

    def items(self) -> Items:
        """All items as they stand."""
        return items_of(self.fake, TABLE)

    def item(self, pk: str, sk: str) -> Item | None:
        """One item as it stands."""
        return self.items().get((pk, sk))


def caller(audience: str, who: str, name: str, body: object) -> Caller:
    """Somebody who may repeat what he asks."""
    return Caller(audience=audience, id=who, receipt=receipt_for(who, name, body))


def quiet() -> None:
    """Keep the log of expected troubles out of a command's output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
