"""Decision records: which riders a search considered, asked or excluded, and why."""

from typing import Literal

from dispatch.ids import OfferId, RiderId
from dispatch.model.offer import PastOffer
from dispatch.model.record import Record


class ConsideredRider(Record, frozen=True):
    """A rider as one search saw it. Units: kilometres, points, minutes.

    `excluded` is the reason why the rider was not asked, None where it could have been;
    `offer_id` is set where it was asked; `before` is how the order's last offer to it ended. A
    batch decision sets `cost`, and then `parts` add up to the cost instead of the score.
    """

    rider_id: RiderId
    distance_km: float
    score: float | None = None
    parts: dict[str, float] = {}
    recent_offers: int = 0
    excluded: str | None = None
    offer_id: OfferId | None = None
    before: PastOffer | None = None
    cost: float | None = None


class PrepTime(Record, frozen=True):
    """Time from the vendor's acceptance until the goods are ready, and its source. Units: minutes.

    `source` is "vendor" (the vendor's own figure), "learned" (from `orders` of the vendor's past
    orders, faded, hence a fraction) or "house" (the default).
    """

    minutes: float
    source: Literal["vendor", "learned", "house"]
    orders: float = 0.0


class Decision(Record, frozen=True):
    """Which riders one search asked, or why it asked none. Units: Unix ms, kilometres.

    `left_out` counts riders within the radius beyond those listed. `looks` counts searches in a
    row, up to `until_ms`, with the same result. Decisions with one `batch` were made together.
    """

    at_ms: int
    wave: int
    radius_km: float
    candidates: tuple[ConsideredRider, ...] = ()
    left_out: int = 0
    looks: int = 1
    until_ms: int | None = None
    batch: str | None = None
    prep: PrepTime | None = None
