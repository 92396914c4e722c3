"""What orchestrators and dashboards see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dispatch.errors import StoreUnavailable
from handlers.http.framework import health
from ledger.dynamodb.table import TableUnavailable
from tests.handlers.socket_edge import RunningEdge, run_edge


async def probe_up() -> None:
    return None


async def probe_redis_down() -> None:
    raise StoreUnavailable("redis", "timeout")


async def probe_table_down() -> None:
    raise TableUnavailable("deadline")


async def probe_network_down() -> None:
    raise ConnectionRefusedError


async def probe_hangs() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def serve_health(**probes: health.Probe) -> AsyncIterator[RunningEdge]:
    async with run_edge(routes=health.routes(probes)) as house:
        yield house


async def test_a_process_that_runs_is_alive_whatever_its_stores_do():
    """Restarting a server does not bring Redis back."""
    async with (
        serve_health(redis=probe_redis_down) as house,
        house.http.get(house.url + "/healthz") as answer,
    ):
        assert (answer.status, await answer.json()) == (
            200, {"success": True, "data": {"status": "alive"}},
        )  # fmt: skip


async def test_a_server_whose_stores_answer_is_ready():
    """Every store is asked."""
    async with (
        serve_health(redis=probe_up, dynamodb=probe_up) as house,
        house.http.get(house.url + "/readyz") as answer,
    ):
        assert (answer.status, (await answer.json())["data"]) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("redis", "dynamodb", "down"),
    [
        (probe_redis_down, probe_up, ["redis"]),
        (probe_up, probe_table_down, ["dynamodb"]),
        (probe_network_down, probe_table_down, ["redis", "dynamodb"]),
        (probe_hangs, probe_hangs, ["redis", "dynamodb"]),
    ],
)
async def test_a_server_without_a_store_is_not_ready(
    redis: health.Probe,
    dynamodb: health.Probe,
    down: list[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """503 names which, and one that says nothing is waited for no longer than a second."""
    monkeypatch.setattr(health, "PROBE_S_MAX", 0.05)
    async with (
        serve_health(redis=redis, dynamodb=dynamodb) as house,
        house.http.get(house.url + "/readyz") as answer,
    ):
        error = (await answer.json())["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (error["code"], error["details"]) == ("unavailable", {"down": down})


async def test_figures_are_in_the_form_that_prometheus_reads():
    """Every series of the house, for anyone who watches it as often as he likes."""
    async with serve_health() as house:
        for _ in range(400):
            async with house.http.get(house.url + "/healthz") as answer:
                assert answer.status == 200
        async with house.http.get(house.url + "/metrics") as answer:
            text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "reeyo_sockets_ended_total" in text
    assert 'reeyo_http_requests_total{method="GET",route="/healthz",status="200"}' in text
