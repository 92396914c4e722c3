"""People over HTTP: operators list them, look at one, and decide about its standing."""

import pytest

from tests.handlers.http_api import ADMIN, AWA, CHEZ_ADA, ApiClient, goods_order

pytestmark = pytest.mark.engines

PASSWORD = "correct horse"


async def register(api: ApiClient, user_type: str, phone: str = "+237670000001") -> str:
    """Register; the user id."""
    body = {"userType": user_type, "phone": phone, "password": PASSWORD, "name": "Awa"}
    made = await api.request(None, "POST /auth/register", body)
    assert made.status == 201
    return made.data["userId"]


async def decide(api: ApiClient, people: str, person_id: str, standing: str, key=None):
    body = {"standing": standing, "reason": "papers"}
    return await api.request(ADMIN, f"POST /admin/{people}/{person_id}/standing", body, key)


@pytest.mark.parametrize(
    ("people", "user_type", "first"),
    [
        ("riders", "RIDER", "PENDING"),
        ("vendors", "VENDOR", "PENDING"),
        ("users", "USER", "APPROVED"),
    ],
)
async def test_registered_people_are_listed(
    api: ApiClient, people: str, user_type: str, first: str
):
    """By standing, by a text, and one by one; vendors and riders wait for approval."""
    person_id = await register(api, user_type)
    lists = [
        (await api.request(ADMIN, f"GET /admin/{people}{query}")).data["items"]
        for query in ("", f"?standing={first}", "?q=awa", "?q=nobody", "?standing=CLOSED")
    ]
    assert [[person["id"] for person in each] for each in lists] == [
        [person_id], [person_id], [person_id], [], [],
    ]  # fmt: skip
    shown = (await api.request(ADMIN, f"GET /admin/{people}/{person_id}")).data
    assert (shown["standing"], shown["name"], shown["phone"]) == (first, "Awa", "+237670000001")


async def test_a_decision_is_kept_with_reason_operator_and_time(api: ApiClient):
    """The rider reads standing and reason in its profile."""
    rider_id = await register(api, "RIDER")
    decided = await decide(api, "riders", rider_id, "REJECTED")
    assert decided.status == 200
    assert (decided.data["standing"], decided.data["reason"]) == ("REJECTED", "papers")
    assert (decided.data["by"], decided.data["at"]) == ("adm_1", api.clock.now_ms())
    profile = (await api.request(("RIDER", rider_id), "GET /rider/profile")).data
    assert (profile["standing"], profile["standingReason"]) == ("REJECTED", "papers")


async def test_a_repeated_decision_answers_the_same(api: ApiClient):
    """Under one key it has one effect, whatever was decided since."""
    rider_id = await register(api, "RIDER")
    first = await decide(api, "riders", rider_id, "APPROVED", key="k1")
    await decide(api, "riders", rider_id, "SUSPENDED")
    again = await decide(api, "riders", rider_id, "APPROVED", key="k1")
    assert again.data == first.data
    shown = (await api.request(ADMIN, f"GET /admin/riders/{rider_id}")).data
    assert shown["standing"] == "SUSPENDED"


@pytest.mark.parametrize("body", [{}, {"standing": "APPROVED"}, {"standing": "X", "reason": "y"}])
async def test_a_decision_needs_a_standing_and_a_reason(api: ApiClient, body: dict[str, str]):
    """Anything else is malformed."""
    answer = await api.request(ADMIN, "POST /admin/riders/rdr_1/standing", body)
    assert (answer.status, answer.error["code"]) == (400, "malformed")


async def test_a_change_that_is_not_allowed_is_a_wrong_state(api: ApiClient):
    """The message names what is allowed."""
    await decide(api, "riders", "rdr_1", "CLOSED")
    answer = await decide(api, "riders", "rdr_1", "APPROVED")
    assert (answer.status, answer.error["code"]) == (409, "wrong_state")
    assert "UNDER_REVIEW" in answer.error["message"]


@pytest.mark.parametrize("query", ["?standing=approved", f"?q={'x' * 101}", "?cursor=%C2%B2."])
async def test_a_wrong_query_is_malformed(api: ApiClient, query: str):
    """An unknown standing, a text that is too long, another list's cursor."""
    answer = await api.request(ADMIN, f"GET /admin/riders{query}")
    assert (answer.status, answer.error["code"]) == (400, "malformed")


async def test_an_id_known_only_from_a_token_is_shown(api: ApiClient):
    """It counts as approved, and is in no list before an operator decides about it."""
    shown = await api.request(ADMIN, "GET /admin/vendors/ven_1")
    assert (shown.status, shown.data["standing"]) == (200, "APPROVED")
    assert (await api.request(ADMIN, "GET /admin/vendors")).data["items"] == []
    assert (await api.request(ADMIN, "GET /admin/vendors/a%20b")).status == 404


async def test_a_suspended_vendor_is_closed_until_it_opens_again(api: ApiClient):
    """It cannot open itself; approved again, it can."""
    await api.open_shop()
    await decide(api, "vendors", "ven_1", "SUSPENDED")
    customer = ("USER", "usr_ada")
    order = await api.request(customer, "POST /orders", goods_order(method="CASH"))
    assert (order.status, order.error["code"]) == (422, "vendor_closed")
    opened = await api.request(CHEZ_ADA, "PUT /vendor/profile", {"online": True})
    assert (opened.status, opened.error["code"]) == (403, "not_approved")
    assert opened.error["details"] == {"standing": "SUSPENDED", "reason": "papers"}
    await decide(api, "vendors", "ven_1", "APPROVED")
    await api.open_shop()
    order = await api.request(customer, "POST /orders", goods_order(method="CASH"))
    assert order.status == 201


async def test_a_rider_shows_what_it_carries(api: ApiClient):
    """Operators decide what happens with it."""
    shown = (await api.request(ADMIN, f"GET /admin/riders/{AWA[1]}")).data
    assert (shown["available"], shown["orders"]) == (False, [])


async def test_a_suspended_person_may_not_even_read(api: ApiClient):
    """A new token of the own issuer opens nothing to one that is barred, until it is admitted."""
    rider_id = await register(api, "RIDER")
    token = ("RIDER", rider_id)
    answers: list[tuple[int, object]] = []
    for standing in ("APPROVED", "SUSPENDED", "APPROVED"):
        assert (await decide(api, "riders", rider_id, standing)).status == 200
        # Tokens of before are revoked.
        api.clock.advance(1_000)
        await api.background.revocation_cache.refresh()
        for route in ("GET /rider/profile", "GET /orders"):
            answer = await api.request(token, route)
            answers.append((answer.status, answer.error["details"] if answer.error else None))
    barred = (403, {"standing": "SUSPENDED", "reason": "papers"})
    assert answers == [*[(200, None)] * 2, *[barred] * 2, *[(200, None)] * 2]
