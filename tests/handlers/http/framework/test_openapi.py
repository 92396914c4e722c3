"""The OpenAPI document is complete: every route, with its body, roles and errors."""

import re
from pathlib import Path

import msgspec

from dispatch.wire.http.admin_money import AdjustmentLegBody
from handlers.app.application import HTTP_MODULES
from handlers.http.framework.envelope import Route
from handlers.http.framework.openapi import body_structs, openapi

ROUTES = [route for module in HTTP_MODULES for route in module.ROUTES]
# Named in docs/http.md with the values of their parameter.
NAMED_BY_EXAMPLE = {
    "/config/service/{service}",
    "/admin/config/services/{service}",
    "/admin/config/offers/{service}",
}


def operation_of(route: Route):
    return openapi(ROUTES)["paths"][route.path][route.method.lower()]


def test_every_endpoint_is_described_with_its_body():
    """Each served route is in the document, with a request body exactly if it has a body type."""
    paths = openapi(ROUTES)["paths"]

    assert {(r.method.lower(), r.path) for r in ROUTES} == {
        (method, path) for path, methods in paths.items() for method in methods
    }
    assert [
        r.path for r in ROUTES if (r.body is not None) != ("requestBody" in operation_of(r))
    ] == []


def test_every_endpoint_has_a_summary_and_an_id_of_its_own():
    """A handler's docstring is its summary; no two operations have the same id."""
    operations = [operation_of(route) for route in ROUTES]
    handlers = {route.handler for route in ROUTES}

    assert [o["operationId"] for o in operations if not o["summary"]] == []
    assert len({o["operationId"] for o in operations}) == len(handlers)


def test_roles_and_tokens_are_described():
    """A route for roles names them and needs a bearer token; a public one needs none."""
    described = {route: operation_of(route) for route in ROUTES}

    assert [list(route.roles) for route in ROUTES] == [
        described[route].get("x-roles", []) for route in ROUTES
    ]
    assert all(("security" in described[route]) == bool(route.roles) for route in ROUTES)


def test_every_reference_leads_to_a_schema():
    """The document refers to no schema that it does not hold."""
    document = openapi(ROUTES)
    text = msgspec.json.encode(document).decode()
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert named <= set(document["components"]["schemas"])


def test_only_bodies_of_operators_exclude_further_fields():
    """The schemas of clients admit what the server ignores."""
    strict = {
        name
        for name, schema in openapi(ROUTES)["components"]["schemas"].items()
        if schema.get("additionalProperties") is False
    }
    of_operators = {
        kind.__name__
        for route in ROUTES
        if route.roles == ("ADMIN",)
        for kind in body_structs(route.body)
    }

    assert strict - {AdjustmentLegBody.__name__} == of_operators


def test_every_endpoint_is_in_the_guide():
    """docs/http.md names every route under /api/v1."""
    guide = (Path(__file__).parents[4] / "docs" / "http.md").read_text()
    text = guide.replace("`GET`, `PUT /", "`GET /").replace("\\|", "|")
    named = {path.split("?")[0] for path in re.findall(r"`[A-Z, `]*(/[^` ]+)", text)}
    missing = [
        r.path for r in ROUTES if r.path.removeprefix("/api/v1") not in named | NAMED_BY_EXAMPLE
    ]

    assert missing == []
