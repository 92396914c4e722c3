"""What orchestrators and dashboards see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dispatch.errors import StoreUnavailable
from handlers.http.framework import health
from ledger.dynamodb.table import TableUnavailable
from tests.handlers.socket_edge import House, edge


async def up() -> None:
    return None


async def no_redis() -> None:
    raise StoreUnavailable("redis", "timeout")


async def no_table() -> None:
    raise TableUnavailable("deadline")


async def no_network() -> None:
    raise ConnectionRefusedError


async def silent() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def watched(**probes: health.Probe) -> AsyncIterator[House]:
    async with edge(routes=health.routes(probes)) as house:
        yield house


async def test_a_process_that_runs_is_alive_whatever_its_stores_do():
    """Restarting a server does not bring Redis back."""
    async with watched(redis=no_redis) as house, house.http.get(house.url + "/healthz") as answer:
        assert (answer.status, await answer.json()) == (
            200, {"success": True, "data": {"status": "alive"}},
        )  # fmt: skip


async def test_a_server_whose_stores_answer_is_ready():
    """Every store is asked."""
    async with (
        watched(redis=up, dynamodb=up) as house,
        house.http.get(house.url + "/readyz") as answer,
    ):
        assert (answer.status, (await answer.json())["data"]) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("redis", "dynamodb", "down"),
    [
        (no_redis, up, ["redis"]),
        (up, no_table, ["dynamodb"]),
        (no_network, no_table, ["redis", "dynamodb"]),
        (silent, silent, ["redis", "dynamodb"]),
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
        watched(redis=redis, dynamodb=dynamodb) as house,
        house.http.get(house.url + "/readyz") as answer,
    ):
        error = (await answer.json())["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (error["code"], error["details"]) == ("unavailable", {"down": down})


async def test_figures_are_in_the_form_that_prometheus_reads():
    """Every series of the house, for anyone who watches it as often as he likes."""
    async with watched() as house:
        for _ in range(400):
            async with house.http.get(house.url + "/healthz") as answer:
                assert answer.status == 200
        async with house.http.get(house.url + "/metrics") as answer:
            text = await answer.text()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "reeyo_sockets_ended_total" in text
    assert 'reeyo_http_requests_total{method="GET",route="/healthz",status="200"}' in text
