"""Vendors, riders and catalogues over HTTP."""

import pytest

from tests.handlers.http_api import (
    ADA,
    ADMIN,
    AWA,
    CHEZ_ADA,
    ApiClient,
)

pytestmark = pytest.mark.engines


async def test_a_profile_is_there_before_it_is_saved(api: ApiClient):
    """A vendor and a rider who said nothing yet see all fields, empty, closed and off duty."""
    vendor = await api.request(CHEZ_ADA, "GET /vendor/profile")
    rider = await api.request(AWA, "GET /rider/profile")

    assert vendor.data == {
        "vendorId": "ven_1",
        "name": "",
        "phone": "",
        "location": None,
        "services": ["FOOD", "MART"],
        "online": False,
        "prepMinutes": None,
    }
    assert rider.data == {
        "riderId": "rdr_1",
        "name": "",
        "phone": "",
        "vehicle": None,
        "available": False,
        "orders": [],
        "completion": 95.0,
        "rating": 4.5,
    }


async def test_a_profile_is_patched(api: ApiClient):
    """What a PUT does not name stays, and the answer is the profile after it."""
    await api.open_shop()
    saved = await api.request(CHEZ_ADA, "PUT /vendor/profile", {"phone": "+237 600 00 00 00"})
    read = await api.request(CHEZ_ADA, "GET /vendor/profile")
    rider = await api.request(AWA, "PUT /rider/profile", {"name": "Awa", "vehicle": "MOTORBIKE"})

    assert saved.data == read.data
    assert (read.data["name"], read.data["online"]) == ("Chez Ada", True)
    assert read.data["location"] == {"lat": 4.05, "lng": 9.7, "address": "Akwa"}
    assert (rider.data["name"], rider.data["vehicle"]) == ("Awa", "MOTORBIKE")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"name": ""},
        {"name": "n" * 101},
        {"location": {"lat": 100, "lng": 9.7}},
        {"location": {"lat": 4.05}},
        {"services": ["TAXI"]},
        {"services": ["FOOD", "MART", "FOOD"]},
        {"online": "yes"},
        {"prepMinutes": -1},
        {"vendorId": "ven_2"},
        {"phone": "12"},
    ],
)
async def test_a_malformed_profile_is_not_saved(api: ApiClient, body: object):
    """What does not fit the contract is refused whole, and nothing of it is kept."""
    await api.open_shop()
    before = await api.request(CHEZ_ADA, "GET /vendor/profile")
    refused = await api.request(CHEZ_ADA, "PUT /vendor/profile", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.request(CHEZ_ADA, "GET /vendor/profile")).data == before.data


async def test_a_catalogue_is_read_by_everyone(api: ApiClient):
    """Vendor, customer, rider and operator read the same items at the same prices."""
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


async def test_a_vendor_writes_his_own_shelf(api: ApiClient):
    """What one vendor puts or deletes under an id leaves the same id of another alone."""
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
    """A vendor nobody knows is 404; one who sells nothing yet has an empty list."""
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
        ("ndole", {"name": "Ndolé", "price": 1, "cost": 1}, 400),
        ("nd%23ole", {"name": "Ndolé", "price": 1}, 404),
        ("n" * 65, {"name": "Ndolé", "price": 1}, 404),
    ],
)
async def test_a_malformed_item_is_not_saved(
    api: ApiClient, item_id: str, body: dict[str, object], status: int
):
    """A price that is no positive whole number, or an id that is none, is refused."""
    refused = await api.request(CHEZ_ADA, f"PUT /vendor/items/{item_id}", body)

    assert refused.status == status
    assert (await api.request(CHEZ_ADA, "GET /vendor/items")).data["items"] == []


async def test_items_come_by_pages(api: ApiClient):
    """A cursor goes on where the page ended, and belongs to one vendor."""
    await api.open_shop(**{f"i{n}": {"name": "I", "price": 1} for n in range(3)})
    first = (await api.request(ADA, "GET /vendors/ven_1/items?limit=2")).data
    cursor = first["nextCursor"]
    second = (await api.request(ADA, f"GET /vendors/ven_1/items?limit=2&cursor={cursor}")).data
    stolen = await api.request(ADA, f"GET /vendors/ven_2/items?limit=2&cursor={cursor}")

    items = [item["itemId"] for item in first["items"] + second["items"]]
    assert items == ["i0", "i1", "i2"]
    assert (second["nextCursor"], stolen.status) == (None, 400)
