"""Metrics: at a listener of their own, and at the main port for this machine under --dev."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from dispatch.clock import ManualClock
from handlers.http.framework.metrics_endpoint import MetricsEndpoint
from tests.handlers.socket_edge import run_edge


async def test_metrics_are_in_prometheus_text_format():
    """All series of the server, also after many unauthenticated requests."""
    async with run_edge(routes=MetricsEndpoint(ManualClock()).routes()) as edge:
        for _ in range(100):
            async with edge.http.get(edge.url + "/nowhere") as answer:
                assert answer.status == 404
        async with edge.http.get(edge.url + "/metrics") as answer:
            text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "reeyo_sockets_ended_total" in text
    assert 'reeyo_http_requests_total{method="any",route="none",status="404"}' in text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "via"])
async def test_a_proxy_on_this_machine_does_not_publish_them(header: str):
    """At the main port a forwarded request is another machine's, whatever it says of itself."""
    async with run_edge(routes=MetricsEndpoint(ManualClock()).routes()) as edge:
        for value in ("127.0.0.1", ""):
            headers = {header: value}
            async with edge.http.get(edge.url + "/metrics", headers=headers) as answer:
                error = (await answer.json())["error"]
                assert (answer.status, error["code"]) == (404, "not_found")


async def test_another_machine_gets_no_metrics_at_the_main_port():
    """Its address is the connection's own, or what a trusted proxy reports of it."""
    routes = MetricsEndpoint(ManualClock()).routes()
    async with run_edge(routes=routes, trusted_proxies=("127.0.0.1",)) as edge:
        headers = {"X-Forwarded-For": "10.1.2.3"}
        async with edge.http.get(edge.url + "/metrics", headers=headers) as answer:
            assert answer.status == 404


async def test_the_own_application_serves_metrics_and_nothing_else():
    """GET and HEAD of /metrics; other paths are refused in the envelope."""
    async with TestClient(TestServer(MetricsEndpoint(ManualClock()).application())) as client:
        headers = {"X-Forwarded-For": "10.1.2.3"}
        assert (await client.get("/metrics", headers=headers)).status == 200
        head = await client.head("/metrics")
        assert (head.status, await head.read()) == (200, b"")
        for path in ("/", "/healthz", "/metrics/"):
            answer = await client.get(path)
            assert (answer.status, (await answer.json())["success"]) == (404, False)


async def test_many_scrapes_cost_one():
    """Within a second all scrapers get the same text."""
    clock = ManualClock()
    async with TestClient(TestServer(MetricsEndpoint(clock).application())) as client:

        async def scrape() -> str:
            return await (await client.get("/metrics")).text()

        texts = await asyncio.gather(*(scrape() for _ in range(10)))
        assert len(set(texts)) == 1
