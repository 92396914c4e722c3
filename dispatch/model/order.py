"""Orders: status, goods, payment, and the whole order as it is stored."""

from enum import StrEnum
from typing import Literal

import msgspec

from dispatch.ids import OrderId, RiderId
from dispatch.model.record import Place, Record
from dispatch.model.rider_search import Dispatch, DispatchState
from ledger.core.order_funds import PaymentMethod
from ledger.core.pricing import Pricing, Service


class OrderStatus(StrEnum):
    """Status of an order, as on the wire."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    PREPARING = "PREPARING"
    READY = "READY"
    IN_TRANSIT = "IN_TRANSIT"
    DELIVERED = "DELIVERED"
    FUNDS_DISTRIBUTED = "FUNDS_DISTRIBUTED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


TERMINAL_STATUSES = frozenset(
    {OrderStatus.FUNDS_DISTRIBUTED, OrderStatus.REJECTED, OrderStatus.CANCELLED}
)


class PaymentState(StrEnum):
    """Whether the customer has paid."""

    PENDING = "PENDING"
    # The provider declined; the customer may still try again.
    FAILED = "FAILED"
    CAPTURED = "CAPTURED"
    DUE = "DUE"
    COLLECTED = "COLLECTED"
    REFUNDED = "REFUNDED"
    VOID = "VOID"


class OrderLine(Record, frozen=True):
    """One catalogue item in an order, at the price when it was placed. Units: whole XAF.

    `stocked` means that its quantity was taken out of the vendor's counted stock.
    """

    item_id: str
    name: str
    quantity: int
    unit_price: int
    stocked: bool = False


class Parcel(Record, frozen=True):
    """What a PACKAGE order carries. Units: kilograms."""

    category: str
    weight: float
    description: str = ""
    is_fragile: bool = False


class Recipient(Record, frozen=True):
    """The person who receives a parcel."""

    name: str
    phone: str


class CashDifference(Record, frozen=True):
    """Cash collected above (or below zero: under) what was due. Units: whole XAF.

    `booked_to` is who is credited with it or owes it; NONE where it waits for an operator.
    """

    amount: int
    booked_to: Literal["RIDER", "CUSTOMER", "NONE"]


class DeliveryProof(Record, frozen=True):
    """What the rider sent as evidence of the handover; a `NOTE` is a text of its own."""

    kind: Literal["PIN", "PHOTO", "SIGNATURE", "BARCODE", "NOTE"]
    pin: str | None = None
    upload_id: str | None = None
    code: str | None = None
    note: str | None = None


class OrderPayment(Record, frozen=True):
    """Method and state of an order's payment, and the cash collected. Units: whole XAF."""

    method: PaymentMethod
    state: PaymentState
    provider: str | None = None
    payment_id: str | None = None
    collected: int | None = None
    difference: CashDifference | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether the provider may still confirm the payment: not answered, or declined so far."""
        return self.state in (PaymentState.PENDING, PaymentState.FAILED)

    def reversed(self) -> "OrderPayment":
        """The payment of the order after its cancellation."""
        captured = self.state is PaymentState.CAPTURED
        after = PaymentState.REFUNDED if captured else PaymentState.VOID
        return msgspec.structs.replace(self, state=after)


class StepRecord(Record, frozen=True):
    """The latest request of one name: who sent it, with what content, and what it led to.

    Shapes: `content` is a hash of the request without its id. Units: Unix milliseconds.
    """

    by: str
    content: str
    at_ms: int
    version: int
    status: OrderStatus
    dispatch_state: DispatchState | None = None
    rider_id: RiderId | None = None


class Order(Record, frozen=True):
    """One order with everything its transitions depend on. Units: Unix ms, whole XAF, minutes."""

    order_id: OrderId
    order_type: Service
    user_id: str
    status: OrderStatus
    pricing: Pricing
    pickup: Place
    dropoff: Place
    payment: OrderPayment
    created_at: int
    updated_at: int
    version: int
    vendor_id: str | None = None
    items: tuple[OrderLine, ...] = ()
    parcel: Parcel | None = None
    recipient: Recipient | None = None
    dispatch: Dispatch | None = None
    prep_minutes: int | None = None
    # Who reported the goods ready: the vendor, or the rider by taking them.
    ready_by: Literal["vendor", "pickup"] | None = None
    reason: str | None = None
    # The party at fault for its cancellation.
    fault: str | None = None
    proof: DeliveryProof | None = None
    rating: int | None = None
    rating_comment: str | None = None
    notes: str | None = None
    # Whether it is counted among the customer's unpaid orders while it is unpaid.
    counts_as_unpaid: bool = False
    # The promotion whose discount is in the prices.
    promo_code: str | None = None
    # When each status was reached, and by which audience; `engine` is the server itself.
    times: dict[str, int] = {}
    times_by: dict[str, str] = {}
    # The latest request of each name by a client, so that its repetition gets the first answer.
    steps: dict[str, StepRecord] = {}

    @property
    def rider_id(self) -> RiderId | None:
        """The rider the order is assigned to, None before and after."""
        return self.dispatch.rider_id if self.dispatch else None

    @property
    def is_terminal(self) -> bool:
        """Whether the order's status is final."""
        return self.status in TERMINAL_STATUSES


class RiderAssignment(Record, frozen=True):
    """The stops of an assigned order and its rider's progress, as the rider's node needs them."""

    order_id: OrderId
    state: DispatchState
    pickup: Place
    dropoff: Place


def assignment_of(order: Order) -> RiderAssignment | None:
    """The assignment of the order's rider, None while there is none."""
    dispatch = order.dispatch
    if dispatch is None or dispatch.rider_id is None:
        return None
    return RiderAssignment(
        order_id=order.order_id, state=dispatch.state, pickup=order.pickup, dropoff=order.dropoff
    )
