"""Server nodes without sockets and Redis, on a fake DynamoDB: everything that moves money."""

from typing import Any, NoReturn, cast

import msgspec
import structlog

from dispatch.catalogue.promotions import Promotions
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import request_key
from dispatch.events.outbox import Outbox, RelayTargets
from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.leadership.order_timeouts import OrderTimeouts
from dispatch.model import Offer
from dispatch.money.approvals.proposals import Proposals
from dispatch.money.approvals.service import ApprovalService, Executors
from dispatch.money.approvals.store import ApprovalStore
from dispatch.money.correction_store import CorrectionStore
from dispatch.money.corrections import CorrectionService
from dispatch.money.payment_store import PaymentStore
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.money.payouts.decisions import DecisionStores
from dispatch.money.payouts.gate_store import PayoutGateStore
from dispatch.money.payouts.providers import SANDBOX, NamedProvider, PayoutProvider, SandboxProvider
from dispatch.money.payouts.services import PayoutBooks, build_payout_services
from dispatch.money.payouts.store import PayoutStore
from dispatch.money.settlement_worker import SettlementWorker
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.orders.service import OrderService
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.cash_difference import CashShortage
from dispatch.orders.transitions.context import OfferFacts
from dispatch.orders.transitions.handover import HandoverPolicy
from dispatch.orders.unit_of_work import Caller, OrderUnitOfWork
from dispatch.orders.use_cases.base import OrderStores
from dispatch.riders.store import Riders
from dispatch.service_area import ServiceArea
from dispatch.storage.leases import Fence
from dispatch.wire import commands
from dispatch.wire.events import Alert
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    AdjustmentLegBody,
    RefundBody,
    RemittanceBody,
)
from dispatch.wire.http.base import Address, PaymentMethodName
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from dispatch.wire.http.profiles import VendorProfile
from dispatch.wire.http.promotions import NewPromotion
from dispatch.wire.http.wallets import PayoutRequest, TopUp
from dispatch.wire.webhooks import PaymentEvent, PaymentReport
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, FaultInjector, Latencies
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import Item
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements
from matching.speeds import LearnedSpeeds
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items, items_of

TABLE = "ledger"
CUSTOMER, VENDOR, RIDER = "usr_1", "ven_1", "rdr_1"
PROVIDER = "momo"
PROMO = "MEAL1000"
STOCK = 1_000_000
# Above every amount of a flow that is one operator's.
TWO_PERSON_ABOVE_XAF = 1_000_000
PRICE = 10_000
DOUALA = Address(lat=4.05, lng=9.70)
# Longer than any test lets an order wait for a rider's answer.
OFFER_TTL_MS = 3_600_000
DAY_MS = 86_400_000

Response = dict[str, Any]


class UnavailableRedis:
    """A Redis that never answers: no rider's position is known."""

    commands = None

    async def last_position(self, rider_id: str) -> NoReturn:
        raise StoreUnavailable("redis", "away")


class ServerNode:
    """One server process; its caches die with it."""

    def __init__(
        self,
        fake: FakeDynamo,
        clock: Clock,
        provider: PayoutProvider | None = None,
        cash_shortage: CashShortage = "customer",
    ) -> None:
        self.clock = clock
        self.alerts: list[Alert] = []
        self.table = DynamoTable(fake, TABLE)
        self.ledger = Ledger(self.table, clock.now_ms)
        self.statements = Statements(self.table)
        self.catalogue = Catalogue(self.table, clock)
        self.promotions = Promotions(self.table, clock)
        missing = cast("Any", None)
        outbox = Outbox(self.table, RelayTargets(missing, missing, missing, missing), clock)
        # Without Redis there is no lease to acquire.
        fence = Fence(clock)
        fence.grant(1, float("inf"))
        stores = OrderStores(
            catalogue=self.catalogue,
            service_rates=ServiceRates(self.table, clock),
            promotions=self.promotions,
            riders=Riders(self.table, clock),
            positions=cast("Any", UnavailableRedis()),
            speeds=LearnedSpeeds(),
            learned_stats=LearnedStats(cast("Any", UnavailableRedis()), missing, clock),
            ledger=self.ledger,
            unit_of_work=OrderUnitOfWork(self.table, self.ledger, outbox, clock),
            fence=fence,
            payment_provider=PROVIDER,
            service_area=ServiceArea(),
            offer_policies=OfferPolicyStore(self.table, clock, "douala"),
            handover_policy=HandoverPolicy(cash_shortage),
        )
        self.order_service = OrderService(stores, clock)
        self.settlement_worker = SettlementWorker(self.order_service, self.ledger, clock)
        self.order_timeouts = OrderTimeouts(self.order_service, OrderStore(self.table), clock)
        approvals = ApprovalStore(self.table, clock)
        postings = CorrectionStore(self.table, self.ledger, clock)
        self.proposals = Proposals(approvals, TWO_PERSON_ABOVE_XAF, clock)
        self.payouts = build_payout_services(
            DecisionStores(
                PayoutStore(self.table, clock),
                PayoutGateStore(self.table, clock),
                postings,
                self.proposals,
            ),
            PayoutBooks(self.statements, self.ledger, self.raise_alert),
            NamedProvider(SANDBOX, provider or SandboxProvider()),
            clock,
        )
        self.correction_service = CorrectionService(
            postings, OrderStore(self.table), self.proposals, clock
        )
        self.approval_service = ApprovalService(
            approvals, Executors(self.correction_service, self.payouts.decisions), clock
        )
        self.payment_service = PaymentService(
            PaymentStore(self.table, clock),
            self.ledger,
            self.order_service,
            PaymentSources(sandbox=True, webhooks=True),
            self.statements,
        )

    async def raise_alert(self, alert: Alert, _every_ms: int) -> bool:
        """Keep an alert."""
        self.alerts.append(alert)
        return True

    # Requests of each party; `name` is the idempotency key with which it repeats them.

    async def top_up(self, amount: int, name: str, provider: str = "sandbox") -> Response:
        """The customer tops up the wallet."""
        body = TopUp(amount=amount, provider=provider)
        return await self.payment_service.top_up(build_caller("user", CUSTOMER, name, body), body)

    async def report_payment(self, payment_id: str, amount: int, event: str) -> Response:
        """The provider reports the outcome of a payment."""
        report = PaymentReport(payment_id=payment_id, amount=amount, currency="XAF")
        notification = PaymentEvent(type=event, data=report)
        key = request_key("provider", f"{event}-{payment_id}", notification)
        return await self.payment_service.handle_webhook_event(PROVIDER, notification, key)

    async def create_promotion(self, **changes: Any) -> Response:
        """An operator creates a promotion: 1,000 off a meal, one use each, for three customers."""
        defaults = {"amount": 1_000, "budget": 3_000, "endsAt": virtual_time.START_MS + DAY_MS}
        body = {"code": PROMO, "services": ["FOOD"], **defaults, **changes}
        promotion = msgspec.convert(body, NewPromotion)
        key = request_key("adm_1", "promise", promotion)
        return await self.promotions.create(promotion, "adm_1", key)

    async def place_order(
        self, method: PaymentMethodName, name: str, promo_code: str | None = None
    ) -> Response:
        """The customer orders one meal."""
        body = GoodsOrder(
            order_type="FOOD",
            vendor_id=VENDOR,
            items=[BasketItem(item_id="meal", quantity=1)],
            delivery_address=DOUALA,
            payment_method=method,
            promo_code=promo_code,
        )
        return await self.order_service.place_order(
            build_caller("user", CUSTOMER, name, body), body
        )

    async def accept_order(self, order_id: str) -> Response:
        """The vendor accepts the order."""
        command = commands.AcceptOrder(order_id=order_id)
        return await self.order_service.accept_order(
            build_caller("vendor", VENDOR, f"take-{order_id}", command), command
        )

    async def reject_order(self, order_id: str) -> Response:
        """The vendor rejects the order."""
        command = commands.RejectOrder(order_id=order_id, reason="closed")
        return await self.order_service.reject_order(
            build_caller("vendor", VENDOR, f"no-{order_id}", command), command
        )

    async def make_offer(self, order_id: str, rider: str = RIDER) -> None:
        """The engine offers the delivery to one rider."""
        now_ms = self.clock.now_ms()
        offer = Offer(
            offer_id=OfferId(f"ofr_{rider}_{order_id}"),
            wave=1,
            made_at_ms=now_ms,
            expires_at_ms=now_ms + OFFER_TTL_MS,
            deadline_ms=now_ms + OFFER_TTL_MS,
            distance_km=1.0,
        )
        offers = {RiderId(rider): offer}
        facts = OfferFacts(offers=offers, trip_km=1.0, due_at_ms=now_ms + OFFER_TTL_MS)
        await self.order_service.make_offers(OrderId(order_id), facts)

    async def accept_delivery(self, order_id: str, rider: str = RIDER) -> Response:
        """The rider accepts the delivery."""
        command = commands.AcceptDelivery(
            order_id=order_id, offer_id=OfferId(f"ofr_{rider}_{order_id}")
        )
        by = build_caller("rider", rider, f"take-{order_id}", command)
        return await self.order_service.accept_delivery(by, command)

    async def release_delivery(self, order_id: str, rider: str = RIDER) -> Response:
        """The rider releases the delivery."""
        command = commands.ReleaseDelivery(order_id=order_id, reason="a flat tyre")
        by = build_caller("rider", rider, f"back-{order_id}", command)
        return await self.order_service.release_delivery(by, command)

    async def pick_up(self, order_id: str, rider: str = RIDER) -> None:
        """The goods are ready and picked up."""
        ready = commands.OrderReady(order_id=order_id)
        await self.order_service.order_ready(
            build_caller("vendor", VENDOR, f"ready-{order_id}", ready), ready
        )
        command = commands.PickUp(order_id=order_id)
        await self.order_service.pick_up(
            build_caller("rider", rider, f"fetch-{order_id}", command), command
        )

    async def complete_delivery(
        self, order_id: str, rider: str = RIDER, cash: int | None = None
    ) -> Response:
        """The goods are handed over; `cash` was collected, or what was due."""
        command = commands.CompleteDelivery(order_id=order_id, cash_collected=cash)
        by = build_caller("rider", rider, f"bring-{order_id}", command)
        return await self.order_service.complete_delivery(by, command)

    async def cancel_order(self, order_id: str) -> Response:
        """The customer cancels the order."""
        command = commands.CancelOrder(order_id=order_id, reason="no longer hungry")
        return await self.order_service.cancel_order(
            build_caller("user", CUSTOMER, f"off-{order_id}", command), command
        )

    async def request_payout(
        self, amount: int, name: str, owner: str = VENDOR, to: str = "+237 670"
    ) -> Response:
        """The vendor, or a rider, requests a payout."""
        body = PayoutRequest(amount=amount, destination=to)
        audience = "vendor" if owner == VENDOR else "rider"
        return await self.payouts.requests.create(build_caller(audience, owner, name, body), body)

    async def approve_payout(self, payout_id: str) -> Response:
        """Another person approves a payout."""
        return await self.payouts.decisions.approve(
            build_caller("ops", "adm_1", f"yes-{payout_id}", None), payout_id
        )

    async def reject_payout(self, payout_id: str) -> Response:
        """An operator rejects a payout."""
        by = build_caller("ops", "adm_2", f"no-{payout_id}", None)
        return await self.payouts.decisions.reject(by, payout_id, "unknown")

    async def refund_order(self, order_id: str, amount: int, name: str) -> Response:
        """An operator refunds a part of a settled order."""
        body = RefundBody(amount=amount, reason="cold")
        return await self.correction_service.refund(
            build_caller("ops", "adm_1", name, body), order_id, body
        )

    async def tip_rider(self, order_id: str, amount: int, name: str) -> Response:
        """The customer tips the rider."""
        return await self.correction_service.tip(
            build_caller("user", CUSTOMER, name, amount), order_id, amount
        )

    async def propose_adjustment(self, amount: int) -> str:
        """An operator proposes an adjustment in the vendor's favour; the adjustment's id."""
        legs = [
            AdjustmentLegBody(account=f"VENDOR#{VENDOR}", amount=amount),
            AdjustmentLegBody(account="CLEARING#BANK.0", amount=-amount),
        ]
        body = AdjustmentBody(legs=legs, reason="forgotten")
        by = build_caller("ops", "adm_1", "correct", body)
        return (await self.correction_service.propose(by, body))["adjustmentId"]

    async def approve_adjustment(self, adjustment_id: str) -> Response:
        """Another operator approves an adjustment."""
        by = build_caller("ops", "adm_2", f"agree-{adjustment_id}", None)
        return await self.correction_service.approve(by, adjustment_id)

    async def remit_cash(self, amount: int, name: str) -> Response:
        """The rider remits cash."""
        body = RemittanceBody(amount=amount, reference=name)
        return await self.correction_service.record_remittance(
            build_caller("ops", "adm_1", name, body), RIDER, body
        )


class ServerCluster:
    """A table on a fake DynamoDB with one vendor, and as many server nodes as a test needs."""

    def __init__(self, pace: Latencies | None = None) -> None:
        self.clock = virtual_time.clock()
        self.fake = FakeDynamo(self.clock.monotonic_s, self.clock.sleep, pace)
        # The provider outlives every node.
        self.provider = SandboxProvider()

    async def start(self) -> ServerNode:
        """Create the table and the vendor's catalogue; the first node."""
        node = self.add_node()
        await ensure_table(node.table)
        profile = VendorProfile(location=DOUALA, online=True)
        await node.catalogue.put_vendor(VENDOR, profile)
        meal = CatalogueItemBody(name="ndole", price=PRICE, stock=STOCK)
        await node.catalogue.put_item(VENDOR, "meal", meal)
        return node

    def add_node(self) -> ServerNode:
        """Another node."""
        return ServerNode(self.fake, self.clock, self.provider)

    def inject_faults(self, faults: FaultInjector) -> None:
        """Make further calls fail as given."""
        self.fake.faults = faults

    def items(self) -> Items:
        """All current items."""
        return items_of(self.fake, TABLE)

    def item(self, pk: str, sk: str) -> Item | None:
        """One current item."""
        return self.items().get((pk, sk))


def build_caller(audience: str, actor_id: str, name: str, body: object) -> Caller:
    """A caller with an idempotency key."""
    return Caller(audience=audience, id=actor_id, request_key=request_key(actor_id, name, body))


def silence_logs() -> None:
    """Keep expected warnings out of a command's output."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
