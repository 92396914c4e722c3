"""Catalogue endpoints: what vendors sell, as vendors write it and everyone reads it."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from aiohttp import web

from dispatch.catalogue.store import Catalogue, CatalogueItem
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.catalogue import CatalogueItemBody
from handlers.http.framework.envelope import EVERYONE, PRINCIPAL, Route, read_body
from handlers.http.framework.pagination import ListPage, id_of, listing, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueContext:
    """What the catalogue endpoints use."""

    catalogue: Catalogue


CATALOGUE = web.AppKey("catalogue", CatalogueContext)


class ItemView(TypedDict):
    """An item as everyone sees it; `stock` only if it is counted. Units: whole XAF."""

    itemId: str
    name: str
    price: int
    category: str | None
    available: bool
    stock: NotRequired[int]


class DeletedItemView(TypedDict):
    """The item that was deleted."""

    itemId: str
    deleted: bool


def _item_view(item: CatalogueItem) -> ItemView:
    view: ItemView = {
        "itemId": item.item_id,
        "name": item.name,
        "price": item.price,
        "category": item.category,
        "available": item.available,
    }
    return view if item.stock is None else {**view, "stock": item.stock}


async def get_own_items(request: web.Request) -> ListPage[ItemView]:
    """The vendor's own catalogue."""
    return await _items_page(request, request[PRINCIPAL].id)


async def get_vendor_items(request: web.Request) -> ListPage[ItemView]:
    """The catalogue of any vendor. Errors: Refused NOT_FOUND for an unknown vendor."""
    vendor_id = id_of(request, "vendorId")
    page = await _items_page(request, vendor_id)
    catalogue = request.app[CATALOGUE].catalogue
    if not page["items"] and await catalogue.vendor(vendor_id) is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no vendor {vendor_id}")
    return page


async def _items_page(request: web.Request, vendor_id: str) -> ListPage[ItemView]:
    page = page_of(request)
    items, cursor = await request.app[CATALOGUE].catalogue.items(vendor_id, page.limit, page.cursor)
    return listing(map(_item_view, items), cursor)


async def put_item(request: web.Request) -> ItemView:
    """Create or replace one item."""
    item_id, body = id_of(request, "itemId"), await read_body(request, CatalogueItemBody)
    catalogue = request.app[CATALOGUE].catalogue
    return _item_view(await catalogue.put_item(request[PRINCIPAL].id, item_id, body))


async def delete_item(request: web.Request) -> DeletedItemView:
    """Delete one item; deleting it twice is no error."""
    item_id = id_of(request, "itemId")
    await request.app[CATALOGUE].catalogue.delete_item(request[PRINCIPAL].id, item_id)
    return {"itemId": item_id, "deleted": True}


ROUTES = (
    Route("GET", "/api/v1/vendor/items", ("VENDOR",), get_own_items),
    Route("PUT", "/api/v1/vendor/items/{itemId}", ("VENDOR",), put_item, CatalogueItemBody),
    Route("DELETE", "/api/v1/vendor/items/{itemId}", ("VENDOR",), delete_item),
    Route("GET", "/api/v1/vendors/{vendorId}/items", EVERYONE, get_vendor_items),
)
