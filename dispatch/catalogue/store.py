"""Catalogue store: vendors' profiles, their items and prices, and counted stock."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from dispatch.clock import Clock
from dispatch.model import OrderLine, Place, Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import given_fields, set_fields
from dispatch.storage.paging import wrong_cursor
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.profiles import VendorProfile
from ledger.core.pricing import Service
from ledger.dynamodb.table import (
    Delete,
    Key,
    Page,
    Put,
    Query,
    Table,
    Update,
    Write,
)

ITEM_PREFIX = "ITEM#"
# Source: DynamoDB, BatchGetItem takes at most 100 keys; an order has at most 100 lines.
ITEMS_PER_READ_MAX = 100


class Vendor(Record, frozen=True):
    """A vendor's profile. Units: minutes, Unix milliseconds."""

    vendor_id: str
    name: str = ""
    phone: str = ""
    location: Place | None = None
    services: tuple[Service, ...] = ("FOOD", "MART")
    online: bool = False
    prep_minutes: int | None = None
    updated_at: int = 0


class CatalogueItem(Record, frozen=True):
    """One item of a vendor; `stock` is None where it is not counted. Units: whole XAF, pieces."""

    item_id: str
    vendor_id: str
    name: str
    price: int
    category: str | None = None
    available: bool = True
    stock: int | None = None
    updated_at: int = 0


class ItemPage(NamedTuple):
    """One page of a catalogue; `cursor` is that of the next page, None at the end."""

    items: list[CatalogueItem]
    cursor: str | None


def profile_key(vendor_id: str) -> Key:
    """The key of a vendor's profile."""
    return Key(f"VENDOR#{vendor_id}", "PROFILE")


def item_key(vendor_id: str, item_id: str) -> Key:
    """The key of an item."""
    return Key(f"VENDOR#{vendor_id}", f"{ITEM_PREFIX}{item_id}")


def set_vendor_online(vendor_id: str, now_ms: int, *, online: bool) -> Update:
    """The write that opens or closes a vendor for orders. DynamoDB: Update PROFILE."""
    fields = {"online": online, "vendorId": vendor_id, "updatedAt": now_ms}
    return set_fields(profile_key(vendor_id), fields)


class Catalogue:
    """Profiles and items in DynamoDB.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def vendor(self, vendor_id: str) -> Vendor | None:
        """A vendor's profile, None where there is none.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(profile_key(vendor_id))
        return msgspec.convert(item, Vendor) if item else None

    async def put_vendor(self, vendor_id: str, patch: VendorProfile) -> Vendor:
        """Set the fields that the patch names; the profile after it.

        DynamoDB: one UpdateItem and one GetItem; a repeat changes nothing.
        """
        await self._save(vendor_id, given_fields(patch))
        saved = await self.vendor(vendor_id)
        assert saved is not None, "a saved profile can be read"
        return saved

    async def _save(self, vendor_id: str, given: dict[str, Any]) -> None:
        fields = {**given, "vendorId": vendor_id, "updatedAt": self._clock.now_ms()}
        await self._table.transact([set_fields(profile_key(vendor_id), fields)])

    async def items(self, vendor_id: str, limit: int, cursor: str | None = None) -> ItemPage:
        """One page of a vendor's catalogue, by item id.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: one Query.
        """
        query = Query(pk=f"VENDOR#{vendor_id}", prefix=ITEM_PREFIX, limit=limit, cursor=cursor)
        try:
            page: Page = await self._table.query(query)
        except ValueError as error:
            raise wrong_cursor() from error
        return ItemPage([msgspec.convert(item, CatalogueItem) for item in page.items], page.cursor)

    async def items_by_id(self, vendor_id: str, ids: Sequence[str]) -> dict[str, CatalogueItem]:
        """Those of the given items that exist, by id.

        DynamoDB: one BatchGetItem, consistent item by item.
        """
        wanted = list(dict.fromkeys(ids))
        assert len(wanted) <= ITEMS_PER_READ_MAX, "an order has at most 100 lines"
        found = await self._table.get_many([item_key(vendor_id, i) for i in wanted])
        items = [msgspec.convert(item, CatalogueItem) for item in found if item]
        return {item.item_id: item for item in items}

    async def vendor_and_items(
        self, vendor_id: str, ids: Sequence[str]
    ) -> tuple[Vendor | None, dict[str, CatalogueItem]]:
        """A vendor and those of the given items that exist: what an order is priced by.

        DynamoDB: one BatchGetItem (two above 99 items), consistent item by item.
        """
        wanted = list(dict.fromkeys(ids))
        keys = [profile_key(vendor_id), *(item_key(vendor_id, i) for i in wanted)]
        profile, *found = await self._table.get_many(keys)
        items = [msgspec.convert(item, CatalogueItem) for item in found if item]
        vendor = msgspec.convert(profile, Vendor) if profile else None
        return vendor, {item.item_id: item for item in items}

    async def put_item(
        self, vendor_id: str, item_id: str, body: CatalogueItemBody
    ) -> CatalogueItem:
        """Save an item in place of the one with its id.

        DynamoDB: one PutItem; a repeat changes nothing.
        """
        item = CatalogueItem(
            item_id=item_id,
            vendor_id=vendor_id,
            name=body.name,
            price=body.price,
            category=body.category,
            available=body.available,
            stock=body.stock,
            updated_at=self._clock.now_ms(),
        )
        await self._table.transact([Put(item=_to_item(item))])
        return item

    async def delete_item(self, vendor_id: str, item_id: str) -> None:
        """Delete an item; one that does not exist is no error.

        DynamoDB: one DeleteItem.
        """
        await self._table.transact([Delete(key=item_key(vendor_id, item_id))])

    def reserve_stock(self, vendor_id: str, lines: Sequence[OrderLine]) -> list[Write]:
        """The writes that take an order's counted lines out of stock.

        DynamoDB: one conditional update a line, which fails where the stock is too low.
        """
        return [
            Update(
                key=item_key(vendor_id, line.item_id),
                expression="SET stock = stock - :quantity",
                condition="stock >= :quantity",
                values={":quantity": line.quantity},
            )
            for line in lines
            if line.stocked
        ]

    async def return_stock(self, vendor_id: str, lines: Sequence[OrderLine]) -> list[Write]:
        """The writes that put an order's counted lines back into stock.

        An item that was deleted or is no longer counted is left out, so that an order can always
        be cancelled.

        DynamoDB: one BatchGetItem where lines are counted, then one conditional update a line.
        """
        counted = [line for line in lines if line.stocked]
        if not counted:
            return []
        items = await self.items_by_id(vendor_id, [line.item_id for line in counted])
        still_counted = {item_id for item_id, item in items.items() if item.stock is not None}
        return [
            Update(
                key=item_key(vendor_id, line.item_id),
                expression="SET stock = stock + :quantity",
                condition="attribute_exists(stock)",
                values={":quantity": line.quantity},
            )
            for line in counted
            if line.item_id in still_counted
        ]


def _to_item(item: CatalogueItem) -> dict[str, Any]:
    key = item_key(item.vendor_id, item.item_id)
    record = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(item)}
    if item.category:
        record["GSI1PK"] = f"VENDOR#{item.vendor_id}#CATEGORY#{item.category}"
        record["GSI1SK"] = key.sk
    return record
