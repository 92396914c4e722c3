"""Fixtures of every test: a worker's engines, and an empty Redis and table for each test."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import pytest_asyncio

from dispatch import ids, settings
from dispatch.clock import SystemClock
from dispatch.settings import Settings
from dispatch.storage.embedded import Endpoints, embedded_engines
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.fake import FakeDynamo
from ledger.dynamodb.schema import ensure_table
from tests.redis_cluster import start_cluster
from tests.waiting import Until

# Examples of a hypothesis property: in a run without the slow tests, and in a whole one. No example
# has a deadline, since a busy machine must not fail a test.
QUICK_EXAMPLES, FULL_EXAMPLES = 25, 100
REDIS_KINDS = ["one", pytest.param("cluster", marks=pytest.mark.slow)]


def _is_quick_run(config: pytest.Config) -> bool:
    """Whether the slow tests are left out, as in `make check`."""
    return "not slow" in config.option.markexpr


def pytest_configure(config: pytest.Config) -> None:
    """Try few examples of each property in `make check`, and as many as usual otherwise."""
    examples = QUICK_EXAMPLES if _is_quick_run(config) else FULL_EXAMPLES
    hypothesis.settings.register_profile("project", deadline=None, max_examples=examples)
    hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def environ() -> Iterator[pytest.MonkeyPatch]:
    """Hide the developer's settings and AWS account from the tests and the servers they start."""
    settings_names = {name.upper() for name in Settings.__struct_fields__}
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in settings_names or name.startswith("AWS_"):
                patch.delenv(name)
        yield patch


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoints]:
    """The Valkey and the DynamoDB engine of this worker; they are killed with it."""
    folder: Path = tmp_path_factory.mktemp("engines")
    embedded_settings = settings.read({"DATA_DIR": str(folder)}, dev=True)
    async with embedded_engines(embedded_settings) as endpoints:
        yield endpoints


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `redis_cluster` on one Redis and, as slow tests, on a cluster of three."""
    is_for_both = metafunc.definition.get_closest_marker("redis_cluster") is not None
    is_for_one = metafunc.definition.get_closest_marker("one_redis") is not None
    if is_for_both and not is_for_one and "redis_url" in metafunc.fixturenames:
        metafunc.parametrize("redis_url", REDIS_KINDS, indirect=True, scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of the worker's Redis Cluster."""
    async with start_cluster(tmp_path_factory.mktemp("cluster")) as shards:
        yield shards.url


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """URL of the worker's Redis server, or of its cluster where the test is parametrized so."""
    if getattr(request, "param", "one") == "cluster":
        return request.getfixturevalue("cluster_url")
    engines: Endpoints = request.getfixturevalue("engines")
    return engines.redis_url


@pytest.fixture(scope="session")
def dynamodb_endpoint(engines: Endpoints) -> str:
    """URL of the worker's DynamoDB engine."""
    assert engines.dynamodb_endpoint is not None, "the tests never speak to AWS"
    return engines.dynamodb_endpoint


@pytest_asyncio.fixture(loop_scope="session")
async def redis(redis_url: str) -> AsyncIterator[RedisClients]:
    """The commands and the listener client of an empty Redis."""
    async with open_redis(redis_url) as clients:
        await clients.commands.flushall()
        yield clients


@pytest_asyncio.fixture(loop_scope="session")
async def scripts(redis: RedisClients) -> Scripts:
    """The Lua scripts, loaded into that Redis."""
    loaded = Scripts(redis.commands)
    await loaded.load()
    return loaded


@pytest.fixture
def table_name() -> str:
    """A table name that no other test uses."""
    return ids.new_id("test")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose its DynamoDB; see `_uses_fake_dynamodb` for the default."""
    group = parser.getgroup("dynamodb")
    group.addoption("--fake-dynamo", action="store_true", help="tables of the fake in every test")
    group.addoption("--real-dynamo", action="store_true", help="tables of the engine in every test")


def _uses_fake_dynamodb(request: pytest.FixtureRequest) -> bool:
    """Whether a test's table is kept by the fake: in quick runs, unless the test needs the engine.

    The embedded engine writes one transaction at a time, which is most of a quick run's time; the
    whole run uses it for every test, and the conformance tests hold the fake to its behaviour.
    """
    config = request.config
    if config.getoption("--fake-dynamo", default=False):
        return True
    if config.getoption("--real-dynamo", default=False) or not _is_quick_run(config):
        return False
    return request.node.get_closest_marker("dynamodb_engine") is None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine_client(dynamodb_endpoint: str) -> AsyncIterator[Any]:
    """One client of the engine for all tests of a worker: a new one costs a second and 20 MB."""
    async with open_table(dynamodb_endpoint, "eu-west-1", "none") as opened:
        yield opened.client


@pytest.fixture
def dynamodb_client(request: pytest.FixtureRequest) -> Any:
    """The DynamoDB client under the test's table: of the engine, or the fake in quick runs."""
    if _uses_fake_dynamodb(request):
        return FakeDynamo(SystemClock().monotonic_s, lambda _: asyncio.sleep(0))
    return request.getfixturevalue("engine_client")


@pytest_asyncio.fixture(loop_scope="session")
async def table(dynamodb_client: Any, table_name: str) -> AsyncIterator[DynamoTable]:
    """A table of the test's own, deleted after it."""
    fresh = DynamoTable(dynamodb_client, table_name)
    await ensure_table(fresh)
    yield fresh
    await fresh.wait_for_transactions()
    await fresh.call_admin("delete_table")


@pytest.fixture
def until() -> Until:
    """Polls for what real processes do, with a deadline."""
    return Until()
