"""Catalogue store: profiles, items by page and by id, and counted stock."""

import msgspec
import pytest

from dispatch.catalogue.store import Catalogue, Vendor, set_vendor_online
from dispatch.clock import ManualClock
from dispatch.errors import Refused
from dispatch.model import OrderLine, Place
from dispatch.wire.http.catalogue import CatalogueItemBody
from dispatch.wire.http.profiles import VendorProfile
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query, TransactionCancelled

pytestmark = pytest.mark.engines


@pytest.fixture
def catalogue(table: DynamoTable, clock: ManualClock) -> Catalogue:
    return Catalogue(table, clock)


def profile(**fields: object) -> VendorProfile:
    return msgspec.convert(fields, VendorProfile)


def dish(**fields: object) -> CatalogueItemBody:
    return msgspec.convert({"name": "Ndolé", "price": 2500, **fields}, CatalogueItemBody)


def line(item_id: str, quantity: int, *, stocked: bool = True) -> OrderLine:
    return OrderLine(
        item_id=item_id, name=item_id, quantity=quantity, unit_price=1, stocked=stocked
    )


async def test_unknown_vendor_has_no_profile(catalogue: Catalogue) -> None:
    """An unknown vendor is None, not an empty profile."""
    assert await catalogue.vendor("ven_1") is None


async def test_patch_changes_only_named_fields(catalogue: Catalogue, clock: ManualClock) -> None:
    """Fields that a later patch does not name keep their values."""
    await catalogue.put_vendor(
        "ven_1", profile(name="Chez Ada", location={"lat": 4, "lng": 9.7, "address": "Akwa"})
    )
    clock.advance(1000)
    saved = await catalogue.put_vendor("ven_1", profile(services=["FOOD"], prepMinutes=0))

    assert saved == Vendor(
        vendor_id="ven_1",
        name="Chez Ada",
        location=Place(lat=4.0, lng=9.7, address="Akwa"),
        services=("FOOD",),
        prep_minutes=0,
        updated_at=clock.now_ms(),
    )
    assert await catalogue.vendor("ven_1") == saved


async def test_empty_patch_makes_a_profile(catalogue: Catalogue) -> None:
    """An empty patch of an unknown vendor makes a closed vendor of FOOD and MART."""
    saved = await catalogue.put_vendor("ven_1", profile())

    assert (saved.online, saved.location, saved.services) == (False, None, ("FOOD", "MART"))


async def test_opening_keeps_the_profile(catalogue: Catalogue, table: DynamoTable) -> None:
    """Opening and closing a vendor leaves its profile unchanged."""
    await catalogue.put_vendor("ven_1", profile(name="Chez Ada"))
    await table.transact([set_vendor_online("ven_1", 1, online=True)])
    opened = await catalogue.vendor("ven_1")
    await table.transact([set_vendor_online("ven_1", 2, online=False)])
    closed = await catalogue.vendor("ven_1")

    assert [(vendor.name, vendor.online) for vendor in (opened, closed) if vendor] == [
        ("Chez Ada", True),
        ("Chez Ada", False),
    ]


async def test_put_replaces_the_whole_item(catalogue: Catalogue, table: DynamoTable) -> None:
    """An item that is put again loses the stock and category that are not given."""
    await catalogue.put_item("ven_1", "ndole", dish(category="Plats", stock=3))
    listed = await table.query(Query(pk="VENDOR#ven_1#CATEGORY#Plats", index="GSI1"))
    await catalogue.put_item("ven_1", "ndole", dish(price=3000, available=False))
    item = (await catalogue.items_by_id("ven_1", ["ndole"]))["ndole"]
    unlisted = await table.query(Query(pk="VENDOR#ven_1#CATEGORY#Plats", index="GSI1"))

    assert [each["itemId"] for each in listed.items] == ["ndole"]
    assert (item.price, item.stock, item.category, item.available) == (3000, None, None, False)
    assert unlisted.items == []


async def test_items_are_paged_in_order(catalogue: Catalogue) -> None:
    """Pages give each item of the vendor once, in the order of ids, and then end."""
    for item_id in ("e", "a", "d", "b", "c"):
        await catalogue.put_item("ven_1", item_id, dish())
    await catalogue.put_item("ven_2", "z", dish())
    first = await catalogue.items("ven_1", 2)
    second = await catalogue.items("ven_1", 2, first.cursor)
    third = await catalogue.items("ven_1", 2, second.cursor)

    pages = [[item.item_id for item in page.items] for page in (first, second, third)]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert third.cursor is None


@pytest.mark.parametrize("cursor", ["nonsense", "e30", "%%%", "a" * 10_000])
async def test_foreign_cursor_is_refused(catalogue: Catalogue, cursor: str) -> None:
    """A cursor that no page has given is refused as malformed."""
    with pytest.raises(Refused) as refused:
        await catalogue.items("ven_1", 2, cursor)

    assert refused.value.code == "malformed"


async def test_only_existing_items_are_found(catalogue: Catalogue) -> None:
    """Items of another vendor and deleted ones are not found."""
    await catalogue.put_item("ven_1", "here", dish())
    await catalogue.put_item("ven_1", "gone", dish())
    await catalogue.put_item("ven_2", "theirs", dish())
    await catalogue.delete_item("ven_1", "gone")
    await catalogue.delete_item("ven_1", "never")

    assert list(await catalogue.items_by_id("ven_1", ["here", "gone", "theirs", "here"])) == [
        "here"
    ]


async def test_stock_is_never_negative(catalogue: Catalogue, table: DynamoTable) -> None:
    """A reservation above the stock of one item changes no item."""
    await catalogue.put_item("ven_1", "juice", dish(stock=3))
    await catalogue.put_item("ven_1", "cake", dish(stock=1))
    await table.transact(catalogue.reserve_stock("ven_1", [line("juice", 2), line("cake", 1)]))
    with pytest.raises(TransactionCancelled) as cancelled:
        await table.transact(catalogue.reserve_stock("ven_1", [line("juice", 1), line("cake", 1)]))
    items = await catalogue.items_by_id("ven_1", ["juice", "cake"])

    assert cancelled.value.failed_positions() == [1]
    assert (items["juice"].stock, items["cake"].stock) == (1, 0)


async def test_uncounted_lines_need_no_write(catalogue: Catalogue) -> None:
    """A line whose stock is not counted needs no write to reserve or return it."""
    lines = [line("ndole", 2, stocked=False)]

    assert catalogue.reserve_stock("ven_1", lines) == []
    assert await catalogue.return_stock("ven_1", lines) == []


async def test_stock_is_returned_where_still_counted(
    catalogue: Catalogue, table: DynamoTable
) -> None:
    """Returning stock creates no deleted item and starts counting none."""
    await catalogue.put_item("ven_1", "juice", dish(stock=3))
    await catalogue.put_item("ven_1", "soya", dish())
    lines = [line("juice", 2), line("soya", 1), line("deleted", 1)]
    await table.transact(await catalogue.return_stock("ven_1", lines))
    items = await catalogue.items_by_id("ven_1", ["juice", "soya", "deleted"])

    assert {item_id: item.stock for item_id, item in items.items()} == {"juice": 5, "soya": None}


async def test_vendor_and_items_in_one_read(catalogue: Catalogue) -> None:
    """One call returns the profile and the given items that exist."""
    assert await catalogue.vendor_and_items("ven_1", ["ndole"]) == (None, {})
    await catalogue.put_vendor("ven_1", profile(name="Chez Ada"))
    await catalogue.put_item("ven_1", "ndole", dish())
    vendor, items = await catalogue.vendor_and_items("ven_1", ["ndole", "eru", "ndole"])

    assert vendor is not None
    assert vendor.name == "Chez Ada"
    assert list(items) == ["ndole"]
