"""OpenAPI document of the HTTP endpoints, made of the routes that serve them."""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from dispatch.errors import Refusal
from handlers.http.framework.envelope import PUBLIC, Route
from handlers.http.framework.schemas import (
    SCHEMA_REF,
    TITLE,
    VERSION,
    Document,
    json_schemas,
    summary_of,
)

_IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 128},
    "description": "The same key with the same body gets the first answer; another body is 409.",
}
_ENVELOPE_SCHEMAS: Document = {
    "Success": {
        "type": "object",
        "required": ["success", "data"],
        "properties": {
            "success": {"const": True},
            "data": {},
            "warnings": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Under --dev: fields of the body that were ignored.",
            },
        },
    },
    "Failure": {
        "type": "object",
        "required": ["success", "error"],
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string", "examples": [code.value for code in Refusal]},
                    "message": {"type": "string"},
                    "details": {"type": "object"},
                },
            },
        },
    },
}


def openapi(routes: Iterable[Route]) -> Document:
    """The document: every endpoint with its body, roles and responses. Source: OpenAPI 3.1."""
    listed = list(routes)
    bodies = list(dict.fromkeys(kind for route in listed for kind in body_structs(route.body)))
    schemas, components = json_schemas(bodies)
    schema_of = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, Document] = {}
    for route in listed:
        body = [schema_of[kind] for kind in body_structs(route.body)]
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, body)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": {**components, **_ENVELOPE_SCHEMAS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, body: list[Document]) -> Document:
    operation: Document = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": summary_of(route.handler),
        "parameters": [_path_parameter(name) for name in _path_parameter_names(route.path)],
        "responses": {
            "200": _response("Success", "Success"),
            "default": _response("Failure; `error.code` says why", "Failure"),
        },
    }
    if route.method == "POST":
        operation["parameters"].append(_IDEMPOTENCY_KEY)
        operation["responses"]["201"] = _response("Created", "Success")
        operation["responses"]["202"] = _response("Waits for another operator", "Success")
    if route.roles != PUBLIC:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = list(route.roles)
    if body:
        content = {"application/json": {"schema": body[0] if len(body) == 1 else {"oneOf": body}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def body_structs(body: Any) -> tuple[type[msgspec.Struct], ...]:
    """The structs that a body may be: none, one, or the members of a union."""
    return () if body is None else get_args(body) or (body,)


def _path_parameter_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _response(description: str, schema: str) -> Document:
    content = {"application/json": {"schema": {"$ref": SCHEMA_REF.format(name=schema)}}}
    return {"description": description, "content": content}
