"""Body of the offer policy endpoint: how riders are asked for a service's orders."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.http.base import OperatorRequest


class OfferSettings(OperatorRequest, frozen=True, kw_only=True):
    """Changes to how riders are asked for a service's orders; an omitted field stays unchanged.

    Units: kilometres, metres, milliseconds.

    Source: `docs/http.md` explains each field. `window_ms` and `grace_ms` at their largest are
    below 60 s, the lifetime of a display receipt (`dispatch/orders/offers/display_receipts.py`).
    """

    mode: Literal["offers", "batch", "auto"] | None = None
    batch_every_ms: Annotated[int, Meta(ge=500, le=60_000)] | None = None
    batch_above: Annotated[float, Meta(gt=0, le=100)] | None = None
    batch_below: Annotated[float, Meta(ge=0, le=100)] | None = None
    wave_sizes: (
        Annotated[list[Annotated[int, Meta(ge=1, le=50)]], Meta(min_length=1, max_length=10)] | None
    ) = None
    radii_km: (
        Annotated[list[Annotated[float, Meta(ge=0.1, le=50)]], Meta(min_length=1, max_length=10)]
        | None
    ) = None
    stagger_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None
    window_ms: Annotated[int, Meta(ge=3_000, le=40_000)] | None = None
    grace_ms: Annotated[int, Meta(ge=0, le=15_000)] | None = None
    receipt_ms: Annotated[int, Meta(ge=500, le=30_000)] | None = None
    silence_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None
    refill_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    retry_ms: (
        Annotated[list[Annotated[int, Meta(ge=500, le=300_000)]], Meta(min_length=1, max_length=10)]
        | None
    ) = None
    candidates_max: Annotated[int, Meta(ge=1, le=500)] | None = None
    unread_max: Annotated[int, Meta(ge=1, le=100)] | None = None
    pause_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    alert_after_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] | None = None
    alert_every_ms: Annotated[int, Meta(ge=10_000, le=86_400_000)] | None = None
    vanish_ms: Annotated[int, Meta(ge=20_000, le=3_600_000)] | None = None
    stall_ms: Annotated[int, Meta(ge=30_000, le=7_200_000)] | None = None
    stall_m: Annotated[int, Meta(ge=5, le=1_000)] | None = None
    near_m: Annotated[int, Meta(ge=10, le=2_000)] | None = None
    goods_silent_ms: Annotated[int, Meta(ge=10_000, le=3_600_000)] | None = None
    late_ms: Annotated[int, Meta(ge=60_000, le=86_400_000)] | None = None
    pickup_implies_ready: bool | None = None
