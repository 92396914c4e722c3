"""Metrics endpoint /metrics: at an address of its own, and under --dev beside the others."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from concurrency.shared_result import SharedResult
from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from handlers.http.framework.envelope import PUBLIC, Route, failure_response
from handlers.http.framework.local_requests import is_from_this_machine

# Source: chosen; scrapers come every few seconds, and several of them cost one rendering.
MAX_AGE_S = 1.0


class MetricsEndpoint:
    """Answers with all metrics of the process, in Prometheus' text format."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._text = SharedResult(_render, MAX_AGE_S)

    def routes(self) -> list[Route]:
        """The route beside the server's other endpoints."""
        return [Route("GET", "/metrics", PUBLIC, self._get_locally, is_limited=False)]

    def application(self) -> web.Application:
        """An application with this route alone, for a listener of its own."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/metrics", self._get)
        app.router.add_get("/{path:.*}", _get_nothing)
        return app

    async def _get_locally(self, request: web.Request) -> web.Response:
        """All metrics in Prometheus' text format, for programs of this machine."""
        if not is_from_this_machine(request):
            raise Refused(Refusal.NOT_FOUND, "metrics are served at METRICS_HOST and METRICS_PORT")
        return await self._get(request)

    async def _get(self, _request: web.Request) -> web.Response:
        text = await self._text.get(self._clock.monotonic_s())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _get_nothing(_request: web.Request) -> web.Response:
    return failure_response(404, "not_found", "only /metrics is served here")


async def _render() -> bytes:
    metrics.TASKS.set(len(asyncio.all_tasks()))
    # Source: measured 2026-11-30, 68 ms for the series of a busy server; in a thread the event loop
    # goes on in between.
    return await asyncio.to_thread(generate_latest)
