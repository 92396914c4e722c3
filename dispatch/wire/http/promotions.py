"""Body of the promotion endpoints: a new promotion."""

from typing import Annotated, Literal

from msgspec import Meta

from dispatch.wire.commands import Amount
from dispatch.wire.http.base import LargeAmount, OperatorRequest, PromoCode, UnixMs


class NewPromotion(OperatorRequest, frozen=True, kw_only=True):
    """A discount that the platform pays: a rate with or without a cap, or an amount.

    Units: whole XAF, basis points, Unix milliseconds.
    """

    code: PromoCode
    services: Annotated[list[Literal["FOOD", "MART", "PACKAGE"]], Meta(min_length=1, max_length=3)]
    ends_at: UnixMs
    budget: Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
    percent_bps: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    amount: LargeAmount | None = None
    cap: LargeAmount | None = None
    min_order_amount: Amount = 0
    starts_at: UnixMs | None = None
    per_user: Annotated[int, Meta(ge=1, le=10_000)] = 1
