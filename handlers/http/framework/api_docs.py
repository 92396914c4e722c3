"""The server's own description: OpenAPI for HTTP, AsyncAPI for the sockets, a page for people."""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from aiohttp import web

from dispatch.errors import Refusal
from dispatch.wire import events
from dispatch.wire.events import Event
from handlers.http.framework.envelope import PUBLIC, ROUTES, STATUS_OF, Route
from handlers.sockets.gate import CommandRoute

VERSION = "1.0"
TITLE = "Reeyo Dispatch"
_REF = "#/components/schemas/{name}"

_EVENTS_FOR_ALL = (events.Resync, events.ServerDraining)
# Who is told what. Source: wire contract, the table of namespaces.
EVENTS_BY_AUDIENCE: Mapping[str, tuple[type[Event], ...]] = {
    "user": (
        events.PaymentFailed,
        events.OrderAccepted,
        events.OrderRejected,
        events.OrderPreparing,
        events.OrderReady,
        events.DispatchStatus,
        events.RiderAssigned,
        events.RiderArrived,
        events.OrderPickedUp,
        events.RiderLocationUpdate,
        events.EtaUpdate,
        events.OrderDelivered,
        events.OrderCancelled,
        *_EVENTS_FOR_ALL,
    ),
    "vendor": (
        events.NewOrder,
        events.RiderAssigned,
        events.RiderArrived,
        events.OrderPickedUp,
        events.OrderDelivered,
        events.OrderCancelled,
        events.OrderSettled,
        *_EVENTS_FOR_ALL,
    ),
    "rider": (
        events.DeliveryRequest,
        events.DeliveryRequestClosed,
        events.OrderReadyForPickup,
        events.OrderCancelled,
        events.OrderSettled,
        events.TrackingPolicy,
        *_EVENTS_FOR_ALL,
    ),
    "ops": (events.AreaDelta, events.Alert, *_EVENTS_FOR_ALL),
}

CommandTables = Mapping[str, Mapping[str, CommandRoute]]


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """Every endpoint with its body and its refusals. Source: OpenAPI 3.1."""
    listed = list(routes)
    bodies = list(dict.fromkeys(kind for route in listed for kind in _body_structs(route.body)))
    schemas, components = _schemas(bodies)
    by_kind = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        body = [by_kind[kind] for kind in _body_structs(route.body)]
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


def _operation(route: Route, body: list[dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": _first_line(route.handler),
        "parameters": [_path_parameter(name) for name in _path_parameter_names(route.path)],
        "responses": {
            "200": _response("Answered", "Success"),
            "default": _response("A refusal; the code says which", "Failure"),
        },
    }
    if route.method == "POST":
        operation["parameters"].append(_IDEMPOTENCY_KEY)
        operation["responses"]["201"] = _response("Created", "Success")
    if route.roles != PUBLIC:
        operation["security"] = [{"bearer": []}]
        operation["x-roles"] = list(route.roles)
    if body:
        content = {"application/json": {"schema": body[0] if len(body) == 1 else {"oneOf": body}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def asyncapi(tables: CommandTables) -> dict[str, Any]:
    """Every command and event by namespace. Source: AsyncAPI 3.0, Socket.IO protocol 5."""
    commands = [row.struct for table in tables.values() for row in table.values()]
    said = [event for told in EVENTS_BY_AUDIENCE.values() for event in told]
    schemas, components = _schemas([*commands, *said])
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    place = iter(schemas)
    for audience, table in tables.items():
        heard = {}
        for name, row in table.items():
            heard[name] = _message(f"{audience}.{name}", row.struct, next(place), messages)
        channels[audience] = {"address": f"/{audience}", "messages": heard}
        operations[f"{audience}_hears"] = _channel_operation("receive", audience, heard)
    for audience, told in EVENTS_BY_AUDIENCE.items():
        spoken = {}
        for event in told:
            key = f"{audience}.says.{event.event}"
            spoken[f"says.{event.event}"] = _message(key, event, next(place), messages)
        channels[audience]["messages"] |= spoken
        operations[f"{audience}_says"] = _channel_operation("send", audience, spoken)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION, "description": _SOCKETS_DESCRIPTION},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": components},
    }


def _message(
    key: str, struct: type[msgspec.Struct], schema: dict[str, Any], messages: dict[str, Any]
) -> dict[str, str]:
    name = key.rpartition(".")[2]
    messages[key] = {"name": name, "summary": _first_line(struct), "payload": schema}
    return {"$ref": f"#/components/messages/{key}"}


def _channel_operation(action: str, audience: str, messages: Mapping[str, Any]) -> dict[str, Any]:
    channel = f"#/channels/{audience}"
    listed = [{"$ref": f"{channel}/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": channel}, "messages": listed}


def add_docs(app: web.Application, tables: CommandTables) -> None:
    """Serve /openapi.json, /asyncapi.json and /docs."""

    async def get_openapi(_request: web.Request) -> web.Response:
        return _json(openapi(app[ROUTES]))

    async def get_asyncapi(_request: web.Request) -> web.Response:
        return _json(asyncapi(tables))

    async def get_docs(_request: web.Request) -> web.Response:
        return _page(openapi(app[ROUTES]), asyncapi(tables))

    app.router.add_get("/openapi.json", get_openapi)
    app.router.add_get("/asyncapi.json", get_asyncapi)
    app.router.add_get("/docs", get_docs)


def _schemas(types: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    return list(schemas), components


def _body_structs(body: Any) -> tuple[Any, ...]:
    """The structs a body may be: none, one, or those of a union."""
    return () if body is None else get_args(body) or (body,)


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _path_parameter_names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _response(text: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=schema)}}}
    return {"description": text, "content": content}


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 128},
    "description": "The same key and body answer the same; another body is 409.",
}
_CODES = {code.value: STATUS_OF[code] for code in Refusal}
_ENVELOPE_SCHEMAS: dict[str, Any] = {
    "Success": {
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"const": True}, "data": {}},
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
                    "code": {"type": "string", "examples": list(_CODES)},
                    "message": {"type": "string"},
                    "details": {"type": "object"},
                },
            },
        },
    },
}
_SOCKETS_DESCRIPTION = (
    "Socket.IO protocol 5 at /socket.io/, one namespace for each audience, token in auth.token. "
    "Every command is acknowledged {ok, data | error}. Durable events carry seq, epoch and ts."
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#eee;padding:.1rem .3rem;border-radius:.2rem}"
    "table{border-collapse:collapse;width:100%}td{border-top:1px solid #ddd;padding:.3rem .5rem;"
    "vertical-align:top}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}"
    "code{background:#333}td{border-color:#444}a{color:#8bf}}"
)


def _page(http: Mapping[str, Any], sockets: Mapping[str, Any]) -> web.Response:
    """Both descriptions as a page that needs no script."""
    rows = [
        _row(f"{method.upper()} {path}", operation["summary"], operation.get("x-roles", ["anyone"]))
        for path, methods in http["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [f"<h2>HTTP</h2><table>{''.join(rows)}</table>"]
    parts.extend(
        f"<h2>/{audience}</h2><table>{_socket_rows(audience, sockets)}</table>"
        for audience in sockets["channels"]
    )
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{TITLE}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{TITLE}</h1><p>The whole of it with every field: <a href=openapi.json>openapi.json"
        f"</a>, <a href=asyncapi.json>asyncapi.json</a>.</p>{''.join(parts)}"
    )
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _socket_rows(audience: str, sockets: Mapping[str, Any]) -> str:
    rows = []
    for key, message in sockets["components"]["messages"].items():
        if key.startswith(f"{audience}."):
            told = "the server says" if ".says." in key else "the client says"
            rows.append(_row(message["name"], message["summary"], [told]))
    return "".join(rows)


def _row(name: str, text: str, tags: Iterable[str]) -> str:
    cells = (f"<code>{html.escape(name)}</code>", html.escape(text), html.escape(", ".join(tags)))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
