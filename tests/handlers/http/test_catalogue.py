"""Catalogue endpoints: items as vendors write them and everyone reads them."""

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    ApiClient,
)

pytestmark = pytest.mark.engines


async def test_every_role_reads_the_same_catalogue(api: ApiClient):
    """Vendor, customer, rider and operator get the same items; stock only if it is counted."""
    await api.open_shop(
        ndole={"name": "Ndolé", "price": 2500, "category": "Plats"},
        juice={"name": "Juice", "price": 700, "stock": 3, "available": False},
    )
    own = await api.request(CHEZ_ADA, "GET /vendor/items")
    others = [
        await api.request(who, "GET /vendors/ven_1/items") for who in (ADA, AWA, ADMIN, CHEZ_ADA)
    ]

    assert own.data["items"] == [
        {
            "itemId": "juice",
            "name": "Juice",
            "price": 700,
            "category": None,
            "available": False,
            "stock": 3,
        },
        {
            "itemId": "ndole",
            "name": "Ndolé",
            "price": 2500,
            "category": "Plats",
            "available": True,
        },
    ]
    assert [other.data for other in others] == [own.data] * 4


async def test_a_vendor_changes_only_its_own_items(api: ApiClient):
    """The same id of another vendor keeps its item; deleting twice is no error."""
    await api.open_shop()
    rival = ("VENDOR", "ven_2")
    put = await api.request(rival, "PUT /vendor/items/ndole", {"name": "Other", "price": 1})
    deleted = await api.request(rival, "DELETE /vendor/items/ndole")
    again = await api.request(rival, "DELETE /vendor/items/ndole")
    kept = await api.request(ADA, "GET /vendors/ven_1/items")

    assert put.data == {
        "itemId": "ndole",
        "name": "Other",
        "price": 1,
        "category": None,
        "available": True,
    }
    assert (deleted.status, again.status) == (200, 200)
    assert [item["price"] for item in kept.data["items"]] == [2500]


async def test_an_unknown_vendor_is_not_found(api: ApiClient):
    """A vendor without items has an empty list, and a forged key is 404."""
    await api.request(CHEZ_ADA, "PUT /vendor/profile", {"name": "Chez Ada"})
    empty = await api.request(ADA, "GET /vendors/ven_1/items")
    unknown = await api.request(ADA, "GET /vendors/ven_none/items")
    forged = await api.request(ADA, "GET /vendors/ven_1%23PROFILE/items")

    assert empty.data == {"items": [], "nextCursor": None}
    assert (unknown.status, forged.status) == (404, 404)


@pytest.mark.parametrize(
    ("item_id", "body", "status"),
    [
        ("ndole", {}, 400),
        ("ndole", {"name": "Ndolé"}, 400),
        ("ndole", {"name": "Ndolé", "price": 0}, 400),
        ("ndole", {"name": "Ndolé", "price": -5}, 400),
        ("ndole", {"name": "Ndolé", "price": 10.5}, 400),
        ("ndole", {"name": "Ndolé", "price": "2500"}, 400),
        ("ndole", {"name": "Ndolé", "price": 10**9}, 400),
        ("ndole", {"name": "Ndolé", "price": 1, "stock": -1}, 400),
        ("nd%23ole", {"name": "Ndolé", "price": 1}, 404),
        ("n" * 65, {"name": "Ndolé", "price": 1}, 404),
    ],
)
async def test_a_malformed_item_is_not_saved(
    api: ApiClient, item_id: str, body: dict[str, object], status: int
):
    """A price that is no positive whole number is malformed, and what is no id is 404."""
    refused = await api.request(CHEZ_ADA, f"PUT /vendor/items/{item_id}", body)

    assert refused.status == status
    assert (await api.request(CHEZ_ADA, "GET /vendor/items")).data["items"] == []


async def test_items_are_paged(api: ApiClient):
    """A cursor continues the list, and is malformed for another vendor."""
    await api.open_shop(**{f"i{n}": {"name": "I", "price": 1} for n in range(3)})
    first = (await api.request(ADA, "GET /vendors/ven_1/items?limit=2")).data
    cursor = first["nextCursor"]
    second = (await api.request(ADA, f"GET /vendors/ven_1/items?limit=2&cursor={cursor}")).data
    stolen = await api.request(ADA, f"GET /vendors/ven_2/items?limit=2&cursor={cursor}")

    items = [item["itemId"] for item in first["items"] + second["items"]]
    assert items == ["i0", "i1", "i2"]
    assert (second["nextCursor"], stolen.status) == (None, 400)
