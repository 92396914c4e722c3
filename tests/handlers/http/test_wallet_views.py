"""The statement of a wallet for a period, as owners and operators read it."""

import pytest

from tests.handlers.http_api import ADA, ADMIN, ApiClient

pytestmark = pytest.mark.engines


async def test_a_statement_continues_the_one_before(api: ApiClient):
    """The lines of a period with the exact balances before and after it, page by page."""
    start = api.clock.now_ms()
    for amount in (100, 200, 300):
        await api.fund(ADA, amount)
        api.clock.advance(1_000)
    middle = start + 1_000
    before = (await api.request(ADA, f"GET /wallet/statement?to={middle}")).data
    after = (await api.request(ADA, f"GET /wallet/statement?from={middle}&limit=1")).data
    rest = (
        await api.request(ADA, f"GET /wallet/statement?from={middle}&cursor={after['nextCursor']}")
    ).data
    then = (await api.request(ADA, f"GET /wallet/balance?at={middle}")).data
    lines = [line["amount"] for line in (*before["items"], *after["items"], *rest["items"])]

    assert (before["openingBalance"], before["closingBalance"]) == (0, 100)
    assert (after["openingBalance"], after["closingBalance"]) == (100, 600)
    assert lines == [100, 200, 300]
    assert rest["nextCursor"] is None
    assert then["balance"] == 300
    assert (await api.request(ADA, "GET /wallet/statement?from=x")).status == 400


async def test_operators_read_the_same_statement(api: ApiClient):
    """Of any wallet, by its owner's type and id."""
    await api.fund(ADA, 100)
    own = await api.request(ADA, "GET /wallet/statement")
    theirs = await api.request(ADMIN, "GET /admin/wallets/user/usr_ada/statement")

    assert own.data["closingBalance"] == 100
    assert theirs.data == own.data


@pytest.mark.parametrize("query", ["from=x", "from=2&to=1", "cursor=x", "cursor=-1", "limit=0"])
async def test_statement_parameters_are_validated(api: ApiClient, query: str):
    """A period that ends before it begins, and what is no number, are malformed."""
    refused = await api.request(ADA, f"GET /wallet/statement?{query}")

    assert (refused.status, refused.error["code"]) == (400, "malformed")
