"""Audit endpoint: operators read what was done, by actor, action, resource and time."""

import pytest

from tests.handlers.http_api import ADA, ADMIN, SECOND_ADMIN, ApiClient

SERVICE = "PUT /admin/config/services/food"


async def test_acts_are_listed_newest_first_and_filtered(api: ApiClient):
    """Each filter narrows the list; the fields say who did what to which resource and when."""
    await api.request(ADMIN, SERVICE, {"deliveryFee": 1_700})
    first_ms = api.clock.now_ms()
    api.clock.advance(1_000)
    await api.request(SECOND_ADMIN, "PUT /admin/config/offers/food", {"windowMs": 20_000})

    async def listed(query: str) -> list[tuple[str, str, str]]:
        found = (await api.request(ADMIN, f"GET /admin/audit?{query}")).data["items"]
        return [(each["actor"], each["action"], each["resource"]) for each in found]

    rates = ("adm_1", "put_service", "service:FOOD")
    offers = ("adm_2", "put_offers", "offers:douala:FOOD")
    assert await listed("") == [offers, rates]
    assert await listed("actor=adm_1") == [rates]
    assert await listed("action=put_offers") == [offers]
    assert await listed("resource=service:FOOD&actor=adm_1") == [rates]
    assert await listed("resource=service:FOOD&actor=adm_2") == []
    assert await listed(f"to={first_ms}") == [rates]
    assert await listed(f"from={first_ms + 1}") == [offers]


async def test_the_list_has_pages(api: ApiClient):
    """Every record is on one page, and the last page has no cursor."""
    for number in range(5):
        await api.request(ADMIN, SERVICE, {"deliveryFee": 1_700 + number})
        api.clock.advance(1)
    pages: list[list[str]] = []
    query: str | None = "limit=2"
    while query is not None:
        page = (await api.request(ADMIN, f"GET /admin/audit?{query}")).data
        pages.append([each["auditId"] for each in page["items"]])
        query = page["nextCursor"] and f"limit=2&cursor={page['nextCursor']}"

    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({each for page in pages for each in page}) == 5


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "to=-1",
        "to=²",
        "from=1e3",
        "limit=0",
        "actor=",
        f"action={'x' * 201}",
        "cursor=².",
    ],
)
async def test_a_wrong_query_is_malformed(api: ApiClient, query: str):
    """Values that cannot be are refused by name."""
    refused = await api.request(ADMIN, f"GET /admin/audit?{query}")
    assert (refused.status, refused.error["code"]) == (400, "malformed")


async def test_the_audit_log_is_for_operators(api: ApiClient):
    """A customer may not read it."""
    assert (await api.request(ADA, "GET /admin/audit")).status == 403
