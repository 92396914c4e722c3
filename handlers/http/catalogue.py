"""What vendors sell, as they write it and as customers read it."""

from typing import Any

from aiohttp import web

from dispatch.catalogue.store import CatalogueItem
from dispatch.errors import Refusal, Refused
from dispatch.wire.http.catalogue import CatalogueItemBody
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import EVERYONE, PRINCIPAL, Route, read_body
from handlers.http.framework.pagination import id_of, listing, page_of


def item_view(item: CatalogueItem) -> dict[str, Any]:
    """An item as everyone sees it; `stock` only where it is counted."""
    view: dict[str, Any] = {
        "itemId": item.item_id,
        "name": item.name,
        "price": item.price,
        "category": item.category,
        "available": item.available,
    }
    return view if item.stock is None else {**view, "stock": item.stock}


async def get_own_items(request: web.Request) -> Any:
    """The vendor's own catalogue."""
    return await _items_page(request, request[PRINCIPAL].id)


async def get_vendor_items(request: web.Request) -> Any:
    """The catalogue of any vendor who is there."""
    vendor_id = id_of(request, "vendorId")
    page = await _items_page(request, vendor_id)
    if not page["items"] and await request.app[DESK].catalogue.vendor(vendor_id) is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no vendor {vendor_id}")
    return page


async def _items_page(request: web.Request, vendor_id: str) -> dict[str, Any]:
    page = page_of(request)
    items, cursor = await request.app[DESK].catalogue.items(vendor_id, page.limit, page.cursor)
    return listing([item_view(item) for item in items], cursor)


async def put_item(request: web.Request) -> Any:
    """Save one item in place of what was under its id."""
    item_id, body = id_of(request, "itemId"), await read_body(request, CatalogueItemBody)
    catalogue = request.app[DESK].catalogue
    return item_view(await catalogue.put_item(request[PRINCIPAL].id, item_id, body))


async def delete_item(request: web.Request) -> Any:
    """Take one item out of the catalogue."""
    item_id = id_of(request, "itemId")
    await request.app[DESK].catalogue.delete_item(request[PRINCIPAL].id, item_id)
    return {"itemId": item_id, "deleted": True}


ROUTES = (
    Route("GET", "/api/v1/vendor/items", ("VENDOR",), get_own_items),
    Route("PUT", "/api/v1/vendor/items/{itemId}", ("VENDOR",), put_item, CatalogueItemBody),
    Route("DELETE", "/api/v1/vendor/items/{itemId}", ("VENDOR",), delete_item),
    Route("GET", "/api/v1/vendors/{vendorId}/items", EVERYONE, get_vendor_items),
)
