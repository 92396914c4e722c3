"""Cursors that no list gave: every list refuses them as malformed, none fails."""

import base64
import json

import pytest

from handlers.app.application import HTTP_MODULES
from tests.handlers.http_api import ADA, ADMIN, AWA, CHEZ_ADA, Actor, ApiClient

pytestmark = pytest.mark.engines

PREFIX = "/api/v1"
ACTORS: dict[str, Actor] = {"USER": ADA, "VENDOR": CHEZ_ADA, "RIDER": AWA, "ADMIN": ADMIN}
# (request line, role) of every GET, for each role that may send it.
READS = [
    (route.path.removeprefix(PREFIX), role)
    for subject in HTTP_MODULES
    for route in subject.ROUTES
    if route.method == "GET"
    for role in (route.roles or ("USER",))
]
# Lists that are always one page, and take no cursor.
ONE_PAGE = {"/admin/orders/{orderId}/decisions", "/admin/riders/nearby"}
VALUES = {
    "{vendorId}": "ven_1",
    "{ownerType}": "user",
    "{ownerId}": "usr_ada",
    "{service}": "food",
}


def encoded(value: object) -> str:
    """A value as the table's cursors are encoded."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


HOSTILE = {
    "superscript": "².",
    "superscript and more": "².x",
    "arabic digit": "٣.",
    "full-width digit": "０.",  # noqa: RUF001
    "underscore": "1_0.",
    "negative": "-1.",
    "plus": "+1.",
    "space": " 1.",
    "huge": "9" * 400 + ".",
    "partition too far": "9999.",
    "dots": "..",
    "one dot": ".",
    "inner dots": "0...",
    "inner superscript": "0.²",
    "not base64": "0.!!!!",
    "bare not base64": "!!!!",
    "null byte": "\x00",
    "inner null byte": "0.\x00",
    "letters": "é" * 40,
    "surrogate": "%ED%A0%80",
    # A request line has at most 8,190 bytes.
    "long": "A" * 7_000,
    "inner long": "0." + "A" * 7_000,
    "empty list": encoded([]),
    "null": encoded(None),
    "number": encoded(7),
    "object": encoded({"PK": "a"}),
    "inner list": "0." + encoded([None, "AUDIT"]),
    "other partition": "0." + encoded([None, "CONFIG#GLOBAL", "CONFIG#GLOBAL", "SERVICES"]),
    "bare other partition": encoded([None, "CONFIG#GLOBAL", "CONFIG#GLOBAL", "SERVICES"]),
    "other index": "0." + encoded(["GSI9", "a", "a", "b", "c", "d"]),
    "numbers in it": "0." + encoded([None, 1, 2, 3]),
    "empty keys": "0." + encoded([None, "", "", ""]),
    "nested": "0." + encoded([[[[]]]] * 4),
    "float": "1.0",
    "exponent": "1e3",
    "not a number": "nan",
}


async def status_of(api: ApiClient, path: str, role: str, cursor: str | None) -> tuple[int, str]:
    """The status of a read and its error code, or whether it is a list."""
    for name, value in VALUES.items():
        path = path.replace(name, value)
    params = {"lat": "4.05", "lng": "9.7", "from": "0", "to": "1"}
    headers = api.auth_headers(ACTORS[role])
    given = params if cursor is None else {**params, "cursor": cursor}
    async with api.client.get(PREFIX + path, params=given, headers=headers) as answer:
        body = await answer.json()
    if "error" in body:
        return answer.status, body["error"]["code"]
    is_list = isinstance(body["data"], dict) and "nextCursor" in body["data"]
    return answer.status, "list" if is_list else "ok"


async def lists_of(api: ApiClient) -> list[tuple[str, str]]:
    """The reads that have pages, of a shop that exists."""
    await api.open_shop()
    found = [(path, role) for path, role in READS if path not in ONE_PAGE]
    return [each for each in found if await status_of(api, *each, None) == (200, "list")]


async def test_every_list_is_found(api: ApiClient):
    """The table below is about the lists that the server has."""
    paths = {path for path, _ in await lists_of(api)}
    assert paths >= {
        "/orders",
        "/admin/orders",
        "/admin/payouts",
        "/admin/adjustments",
        "/admin/approvals",
        "/admin/audit",
        "/admin/promotions",
        "/admin/riders",
        "/admin/riders/cash",
        "/wallet/transactions",
        "/wallet/payouts",
        "/wallet/statement",
        "/vendor/items",
        "/vendors/{vendorId}/items",
    }


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_cursor_that_no_list_gave_is_malformed(api: ApiClient, kind: str):
    """400 on every list of every role."""
    answers = {each: await status_of(api, *each, HOSTILE[kind]) for each in await lists_of(api)}
    assert {each: got for each, got in answers.items() if got != (400, "malformed")} == {}


async def test_a_cursor_fails_no_other_read(api: ApiClient):
    """What is no list ignores or refuses it."""
    others = set(READS) - set(await lists_of(api))
    answers = [
        await status_of(api, path, role, cursor)
        for path, role in sorted(others)
        for cursor in ("².", "\x00", "A" * 7_000)
    ]
    assert max(status for status, _ in answers) < 500
