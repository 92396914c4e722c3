"""Health probes: what orchestrators see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.http.framework import health
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TableUnavailable
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.waiting import Until


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
    async with run_edge(routes=health.routes(probes, probe_s_max=0.05)) as edge:
        yield edge


async def test_liveness_does_not_depend_on_the_stores():
    """Restarting a server does not bring Redis back."""
    async with (
        serve_health(redis=probe_redis_down) as edge,
        edge.http.get(edge.url + "/healthz") as answer,
    ):
        assert (answer.status, await answer.json()) == (
            200, {"success": True, "data": {"status": "alive"}},
        )  # fmt: skip


async def test_a_server_is_ready_if_all_its_stores_answer():
    """Every store is probed."""
    async with (
        serve_health(redis=probe_up, dynamodb=probe_up) as edge,
        edge.http.get(edge.url + "/readyz") as answer,
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
    redis: health.Probe, dynamodb: health.Probe, down: list[str]
):
    """503 names the stores; a probe that does not answer is given up."""
    async with (
        serve_health(redis=redis, dynamodb=dynamodb) as edge,
        edge.http.get(edge.url + "/readyz") as answer,
    ):
        error = (await answer.json())["error"]
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (error["code"], error["details"]) == ("unavailable", {"down": down})


async def test_a_stopping_server_is_not_ready():
    """Its stores are not probed any more."""
    routes = health.routes({"redis": probe_hangs}, lambda: True)
    async with run_edge(routes=routes) as edge, edge.http.get(edge.url + "/readyz") as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["details"]) == (503, {"down": ["server"]})


@pytest.mark.engines
async def test_the_probes_of_the_stores_answer(table: DynamoTable, redis: RedisClients):
    """Both real stores and the messages between nodes, each by its name."""
    probes = health.store_probes(redis, Scripts(redis.commands), PubSub(redis), table)
    assert list(probes) == ["redis", "pubsub", "dynamodb"]
    for probe in probes.values():
        await probe()


@pytest.mark.engines
async def test_a_redis_that_answers_but_takes_no_writes_is_not_ready(
    table: DynamoTable, redis: RedisClients, until: Until
):
    """A Redis that is full answers a PING and publishes; its probe and that of messages fail.

    A replica was ready for as long as it answered, with every write refused.
    """
    pubsub = PubSub(redis)
    probes = health.store_probes(redis, Scripts(redis.commands), pubsub, table)

    async def fails(name: str) -> bool:
        try:
            await probes[name]()
        except StoreUnavailable:
            return True
        return False

    async with until.running(pubsub.run):
        await pubsub.subscribe("channel", lambda _data: None)
        await redis.commands.config_set("maxmemory", "1")
        try:
            assert await redis.commands.ping()
            assert await fails("redis")
            await until.eventually(lambda: fails("pubsub"))
        finally:
            await redis.commands.config_set("maxmemory", "0")
        await until.true(lambda: pubsub.is_working)
        assert not await fails("redis")
        assert not await fails("pubsub")


async def test_many_probes_cost_one():
    """Forty requests at once, and those of the next second, ask the stores once."""
    calls: list[None] = []

    async def probe() -> None:
        calls.append(None)
        await asyncio.sleep(0)

    async with serve_health(redis=probe) as edge:

        async def ask() -> int:
            async with edge.http.get(edge.url + "/readyz") as answer:
                return answer.status

        assert await asyncio.gather(*(ask() for _ in range(40))) == [200] * 40
        edge.clock.advance(999)
        assert (await ask(), len(calls)) == (200, 1)
        edge.clock.advance(1)
        assert (await ask(), len(calls)) == (200, 2)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_is_answered(path: str):
    """Some balancers probe with HEAD."""
    async with serve_health(redis=probe_up) as edge, edge.http.head(edge.url + path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == "42"
