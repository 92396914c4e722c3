"""The search for an order's rider, from the first offer to the delivery."""

from enum import StrEnum

from dispatch.ids import OfferId, RiderId
from dispatch.model.offer import Offer, PastOffer
from dispatch.model.record import Record


class DispatchState(StrEnum):
    """State of the search and of the assigned rider, as on the wire."""

    SEARCHING = "SEARCHING"
    OFFERED = "OFFERED"
    ASSIGNED = "ASSIGNED"
    AT_PICKUP = "AT_PICKUP"
    PICKED_UP = "PICKED_UP"
    AT_DROPOFF = "AT_DROPOFF"
    DONE = "DONE"
    EXHAUSTED = "EXHAUSTED"


class PositionEvidence(Record, frozen=True):
    """How far a rider's last position was from the stop that its command is about.

    Units: metres, milliseconds.
    """

    distance_m: int
    age_ms: int
    accuracy: float | None = None


class Dispatch(Record, frozen=True):
    """The rider search of one order, stored inside the order. Units: Unix ms, kilometres.

    `due_at_ms` is when the engine must process the order next, None while that depends on the
    rider. `wanted` is the rider an operator asked for, who is asked before all others. Of the
    current wave `wave_asked` riders were asked so far, all within `radius_km`. `decisions` counts
    the decisions made. `seen_at` holds when positions showed the rider at a stop, before the
    rider reported it. `concerns` holds since when the engine
    has been worried about the goods under way, by kind; `evidence` where the rider was when it sent
    a command, by its name.
    """

    state: DispatchState
    started_at_ms: int
    rider_id: RiderId | None = None
    offer_id: OfferId | None = None
    wave: int = 0
    wave_asked: int = 0
    radius_km: float | None = None
    offers: dict[RiderId, Offer] = {}
    asked: dict[RiderId, PastOffer] = {}
    due_at_ms: int | None = None
    wanted: RiderId | None = None
    decisions: int = 0
    seen_at: dict[str, int] = {}
    concerns: dict[str, int] = {}
    evidence: dict[str, PositionEvidence] = {}
