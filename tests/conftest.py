"""The real engines, one pair for each worker, and a clean place in them for each test."""

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

# Examples of a property: in a run without the slow tests, and in a whole one. A busy machine is no
# reason to fail, so none has a deadline of its own.
QUICK_EXAMPLES, FULL_EXAMPLES = 25, 100
REDIS_KINDS = ["one", pytest.param("cluster", marks=pytest.mark.slow)]


def pytest_configure(config: pytest.Config) -> None:
    """Try few examples of each property in `make check`, and as many as usual otherwise."""
    is_quick = "not slow" in config.option.markexpr
    hypothesis.settings.register_profile(
        "house", deadline=None, max_examples=QUICK_EXAMPLES if is_quick else FULL_EXAMPLES
    )
    hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def environ() -> Iterator[pytest.MonkeyPatch]:
    """No setting and no AWS account of the developer's reaches a test or a server it starts."""
    ours = {name.upper() for name in Settings.__struct_fields__}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name in ours or name.startswith("AWS_")]:
            patch.delenv(name)
        yield patch


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoints]:
    """A Valkey and a DynamoDB engine of this worker's own; they die with the worker."""
    folder: Path = tmp_path_factory.mktemp("engines")
    ours = settings.read({"DATA_DIR": str(folder)}, dev=True)
    async with embedded_engines(ours) as endpoints:
        yield endpoints


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `redis_cluster` on one Redis, and once more on a cluster of three."""
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
    """URL of the worker's Redis, of the kind that the test asks for."""
    if getattr(request, "param", "one") == "cluster":
        return request.getfixturevalue("cluster_url")
    engines: Endpoints = request.getfixturevalue("engines")
    return engines.redis_url


@pytest.fixture(scope="session")
def dynamodb_endpoint(engines: Endpoints) -> str:
    """Where the worker's DynamoDB engine is."""
    assert engines.dynamodb_endpoint is not None, "the tests never speak to AWS"
    return engines.dynamodb_endpoint


@pytest_asyncio.fixture(loop_scope="session")
async def redis(redis_url: str) -> AsyncIterator[RedisClients]:
    """The three Redis clients on an empty Redis."""
    async with open_redis(redis_url) as clients:
        await clients.commands.flushall()
        yield clients


@pytest_asyncio.fixture(loop_scope="session")
async def scripts(redis: RedisClients) -> Scripts:
    """The Lua scripts, ready at that Redis."""
    loaded = Scripts(redis.commands)
    await loaded.load()
    return loaded


@pytest.fixture
def table_name() -> str:
    """A table name that no other test has."""
    return ids.new_id("test")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run do without the DynamoDB engine where it only needs tables."""
    parser.addoption("--fake-dynamo", action="store_true", help="tables of the fake, no engine")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine_client(dynamodb_endpoint: str) -> AsyncIterator[Any]:
    """One client for all tests of a worker: each new one costs a second and 20 MB."""
    async with open_table(dynamodb_endpoint, "eu-west-1", "none") as opened:
        yield opened.client


@pytest.fixture(scope="session")
def dynamodb_client(request: pytest.FixtureRequest) -> Any:
    """What the tests' tables stand on: the engine, or the fake where the run asks for it."""
    if request.config.getoption("--fake-dynamo", default=False):
        return FakeDynamo(SystemClock().monotonic_s, lambda _: asyncio.sleep(0))
    return request.getfixturevalue("engine_client")


@pytest_asyncio.fixture(loop_scope="session")
async def table(dynamodb_client: Any, table_name: str) -> AsyncIterator[DynamoTable]:
    """A table of the test's own, gone after it."""
    fresh = DynamoTable(dynamodb_client, table_name)
    await ensure_table(fresh)
    yield fresh
    await fresh.wait_for_transactions()
    await fresh.call_admin("delete_table")


@pytest.fixture
def until() -> Until:
    """Waits for what real engines do in their own time."""
    return Until()
