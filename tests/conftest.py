"""The real engines, one pair for each worker, and a clean place in them for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from dispatch import ids, settings
from dispatch.store.connect import RedisClients, open_redis
from dispatch.store.embedded import Endpoints, embedded_engines
from tests.waiting import Until

# The embedded engine checks no signature, yet botocore makes one.
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="session", autouse=True)
def aws_environment() -> Iterator[None]:
    """Credentials that no real AWS account knows, whatever the developer's shell has."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Endpoints]:
    """A Valkey and a DynamoDB engine of this worker's own; they die with the worker."""
    folder: Path = tmp_path_factory.mktemp("engines")
    ours = settings.read({"DATA_DIR": str(folder)}, dev=True)
    async with embedded_engines(ours) as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def redis_url(engines: Endpoints) -> str:
    """Where the worker's Redis is."""
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


@pytest.fixture
def table_name() -> str:
    """A table name that no other test has."""
    return ids.mint("test")


@pytest.fixture
def until() -> Until:
    """Waits for what real engines do in their own time."""
    return Until()
