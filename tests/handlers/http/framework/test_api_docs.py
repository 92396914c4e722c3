"""The server's description of itself is whole: every route, every command, every event."""

import re
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dispatch.wire.events import Event
from handlers.app.composition import HTTP_MODULES
from handlers.http.framework import api_docs, envelope
from handlers.sockets import ops, rider, user, vendor

TABLES = {
    "user": user.COMMANDS,
    "vendor": vendor.COMMANDS,
    "rider": rider.COMMANDS,
    "ops": ops.COMMANDS,
}
ROUTES = [route for subject in HTTP_MODULES for route in subject.ROUTES]


def event_types(kind=Event):
    below = kind.__subclasses__()
    return {kind} if not below else set().union(*(event_types(each) for each in below))


def test_every_endpoint_is_described_with_its_body():
    """A route that is served is in the document, with the struct that its body is decoded to."""
    paths = api_docs.openapi(ROUTES)["paths"]

    assert {(r.method.lower(), r.path) for r in ROUTES} == {
        (method, path) for path, methods in paths.items() for method in methods
    }
    assert [
        r.path for r in ROUTES if (r.body is None) != ("requestBody" not in operation_of(paths, r))
    ] == []


def test_every_endpoint_is_in_the_guide():
    """docs/http.md names every route that is served under /api/v1."""
    guide = (Path(__file__).parents[4] / "docs" / "http.md").read_text()
    text = guide.replace("`GET`, `PUT /", "`GET /").replace("\\|", "|")
    named = {path.split("?")[0] for path in re.findall(r"`[A-Z, `]*(/[^` ]+)", text)}
    missing = [
        r.path for r in ROUTES if r.path.removeprefix("/api/v1") not in named | NAMED_BY_EXAMPLE
    ]

    assert missing == []


# Named in the guide with what may stand in their place.
NAMED_BY_EXAMPLE = {
    "/config/service/{service}",
    "/admin/config/services/{service}",
    "/admin/config/offers/{service}",
}


def operation_of(paths, route):
    return paths[route.path][route.method.lower()]


def test_every_reference_leads_somewhere():
    """No document points at a schema that it does not hold."""
    for document in (api_docs.openapi(ROUTES), api_docs.asyncapi(TABLES)):
        text = msgspec.json.encode(document).decode()
        named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

        assert named <= set(document["components"]["schemas"])


def test_every_command_and_event_is_described():
    """What the tables take and the wire can say is in the document, under its audience."""
    messages = api_docs.asyncapi(TABLES)["components"]["messages"]
    commands = {f"{audience}.{name}" for audience, table in TABLES.items() for name in table}
    said = {event for told in api_docs.EVENTS_BY_AUDIENCE.values() for event in told}

    assert commands <= set(messages)
    assert {event.event for event in event_types()} == {event.event for event in said}


async def test_the_three_documents_are_served():
    """JSON for machines and a page without scripts for people."""
    app = web.Application()
    envelope.register_routes(app, [])
    api_docs.add_docs(app, TABLES)
    async with TestClient(TestServer(app)) as client:
        openapi = await client.get("/openapi.json")
        sockets = await client.get("/asyncapi.json")
        page = await client.get("/docs")

        assert (await openapi.json())["openapi"] == "3.1.0"
        assert (await sockets.json())["asyncapi"] == "3.0.0"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "<script" not in await page.text()
