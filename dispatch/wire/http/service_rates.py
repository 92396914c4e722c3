"""Body of the service rate endpoint: changes to a price list."""

from typing import Annotated

from msgspec import Meta

from dispatch.wire.commands import Amount
from dispatch.wire.http.base import OperatorRequest


class ServiceSettings(OperatorRequest, frozen=True, kw_only=True):
    """Changes to a service's price list; an omitted field stays unchanged.

    Units: whole XAF, basis points, kilograms.
    """

    enabled: bool | None = None
    commission_bps: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    delivery_fee: Amount | None = None
    min_order_amount: Amount | None = None
    base_fee: Amount | None = None
    fee_per_km: Amount | None = None
    fragile_fee: Amount | None = None
    max_weight_kg: Annotated[float, Meta(gt=0, le=10_000)] | None = None
