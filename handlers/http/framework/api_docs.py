"""API documentation endpoints: /openapi.json, /asyncapi.json and /docs."""

import msgspec
from aiohttp import web

from handlers.http.framework.asyncapi import CommandTables, asyncapi
from handlers.http.framework.docs_page import docs_page
from handlers.http.framework.envelope import ROUTES
from handlers.http.framework.openapi import openapi
from handlers.http.framework.schemas import Document


def add_docs(app: web.Application, tables: CommandTables) -> None:
    """Serve the documents of the application's routes and of these command tables."""

    async def get_openapi(_request: web.Request) -> web.Response:
        return _json(openapi(app[ROUTES]))

    async def get_asyncapi(_request: web.Request) -> web.Response:
        return _json(asyncapi(tables))

    async def get_docs(_request: web.Request) -> web.Response:
        return docs_page(openapi(app[ROUTES]), asyncapi(tables))

    app.router.add_get("/openapi.json", get_openapi)
    app.router.add_get("/asyncapi.json", get_asyncapi)
    app.router.add_get("/docs", get_docs)


def _json(document: Document) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
