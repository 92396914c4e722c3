"""Body of the catalogue endpoints: one item of a vendor."""

from typing import Annotated

from msgspec import Meta

from dispatch.wire.http.base import DisplayName, Request, ShortText

# Units: whole XAF.
Price = Annotated[int, Meta(ge=1, le=100_000_000)]


class CatalogueItemBody(Request, frozen=True, kw_only=True):
    """One item that a vendor sells; without `stock` it is not counted. Units: whole XAF."""

    name: DisplayName
    price: Price
    category: ShortText | None = None
    available: bool = True
    stock: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
