"""API documentation endpoints: /openapi.json, /asyncapi.json and /docs, built once at start."""

import hashlib
from collections.abc import Mapping

import msgspec
from aiohttp import ETag, web

from handlers.http.framework.asyncapi import CommandTables, asyncapi
from handlers.http.framework.docs_page import HEADERS, docs_page
from handlers.http.framework.envelope import ROUTES
from handlers.http.framework.openapi import openapi

# Source: chosen; a new version of the server is seen after a minute.
CACHE_CONTROL = "public, max-age=60"


def add_docs(app: web.Application, tables: CommandTables) -> None:
    """Serve the documents of the routes that are registered so far and of these command tables."""
    http, sockets = openapi(app[ROUTES]), asyncapi(tables)
    page = docs_page(http, sockets).encode()
    json_type = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
    html_type = {"Content-Type": "text/html; charset=utf-8", **HEADERS}
    for path, body, headers in (
        ("/openapi.json", msgspec.json.encode(http), json_type),
        ("/asyncapi.json", msgspec.json.encode(sockets), json_type),
        ("/docs", page, html_type),
    ):
        app.router.add_get(path, _DocPage(body, headers).get)


class _DocPage:
    """A document that does not change while the server runs."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._body = body
        self._etag = ETag(hashlib.sha256(body).hexdigest()[:16])
        self._headers = {**headers, "Cache-Control": CACHE_CONTROL, "ETag": f'"{self._etag.value}"'}

    async def get(self, request: web.Request) -> web.Response:
        """The document, or 304 for a client that has it. Source: RFC 9110 section 13.1.2."""
        known = request.if_none_match or ()
        if any(each.value in ("*", self._etag.value) for each in known):
            return web.Response(status=304, headers=self._headers)
        return web.Response(body=self._body, headers=self._headers)
