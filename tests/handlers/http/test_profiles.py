"""Profiles of vendors and riders over HTTP."""

import pytest

from tests.handlers.http_api import AWA, CHEZ_ADA, ApiClient

pytestmark = pytest.mark.engines


async def test_an_unsaved_profile_has_default_values(api: ApiClient):
    """A new vendor is closed, and a new rider is unavailable with the default statistics."""
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
        "standing": "APPROVED",
        "standingReason": "",
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
        "standing": "APPROVED",
        "standingReason": "",
    }


async def test_a_profile_is_patched(api: ApiClient):
    """Omitted fields stay, and the answer is the profile afterwards."""
    await api.open_shop()
    saved = await api.request(CHEZ_ADA, "PUT /vendor/profile", {"phone": "690 12.34-56"})
    read = await api.request(CHEZ_ADA, "GET /vendor/profile")
    rider = await api.request(AWA, "PUT /rider/profile", {"name": "Awa", "vehicle": "MOTORBIKE"})

    assert saved.data == read.data
    assert read.data["phone"] == "+237690123456"
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
        {"phone": "12"},
        {"phone": "0690123456"},
        {"phone": "+237690123456 ext 4"},
    ],
)
async def test_a_malformed_profile_is_not_saved(api: ApiClient, body: object):
    """A body with one bad field changes nothing."""
    await api.open_shop()
    before = await api.request(CHEZ_ADA, "GET /vendor/profile")
    refused = await api.request(CHEZ_ADA, "PUT /vendor/profile", body)

    assert (refused.status, refused.error["code"]) == (400, "malformed")
    assert (await api.request(CHEZ_ADA, "GET /vendor/profile")).data == before.data


@pytest.mark.parametrize(
    ("lat", "lng", "problem"),
    [(48.8566, 2.3522, "outside"), (9.7, 4.05, "swapped"), (0, 0, "null_island")],
)
async def test_a_shop_lies_in_the_service_area(
    api: ApiClient, lat: float, lng: float, problem: str
):
    """A location that is not served is refused, and the profile stays as it was."""
    await api.open_shop()
    place = {"lat": lat, "lng": lng, "address": "?"}
    refused = await api.request(
        CHEZ_ADA, "PUT /vendor/profile", {"name": "Moved", "location": place}
    )
    profile = (await api.request(CHEZ_ADA, "GET /vendor/profile")).data

    assert (refused.status, refused.error["code"]) == (422, "out_of_area")
    assert refused.error["details"]["problem"] == problem
    assert (profile["name"], profile["location"]["lat"]) == ("Chez Ada", 4.05)
