"""Domain structs: orders, rider searches, offers, decisions, positions; frozen, without I/O."""

from dispatch.model.decision import ConsideredRider, Decision, PrepTime
from dispatch.model.offer import MatchingMode, Offer, OfferOutcome, OfferPolicy, PastOffer
from dispatch.model.order import (
    TERMINAL_STATUSES,
    CashDifference,
    DeliveryProof,
    Order,
    OrderLine,
    OrderPayment,
    OrderStatus,
    Parcel,
    PaymentMethod,
    PaymentState,
    Recipient,
    RiderAssignment,
    StepRecord,
    assignment_of,
)
from dispatch.model.position import Position, Presence, RiderPresence, Trail
from dispatch.model.record import Place, Record
from dispatch.model.rider_search import Dispatch, DispatchState, PositionEvidence

__all__ = [
    "TERMINAL_STATUSES",
    "CashDifference",
    "ConsideredRider",
    "Decision",
    "DeliveryProof",
    "Dispatch",
    "DispatchState",
    "MatchingMode",
    "Offer",
    "OfferOutcome",
    "OfferPolicy",
    "Order",
    "OrderLine",
    "OrderPayment",
    "OrderStatus",
    "Parcel",
    "PastOffer",
    "PaymentMethod",
    "PaymentState",
    "Place",
    "Position",
    "PositionEvidence",
    "PrepTime",
    "Presence",
    "Recipient",
    "Record",
    "RiderAssignment",
    "RiderPresence",
    "StepRecord",
    "Trail",
    "assignment_of",
]
