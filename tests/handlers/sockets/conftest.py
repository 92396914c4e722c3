"""A running socket edge, and one node's services on real stores, for the tests of this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dispatch import settings
from dispatch.clock import ManualClock
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.app.composition import compose
from handlers.app.infrastructure import Infrastructure
from ledger.dynamodb.client import DynamoTable
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.handlers.sockets.composed_node import ComposedNode, RecordingDynamo
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    """Serve riders, customers and vendors on a free port."""
    async with run_edge() as opened:
        yield opened


@pytest.fixture
async def node(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ComposedNode]:
    """Compose a node's services on the real engines, listening to pub/sub."""
    ours = settings.read({"RATE_LIMITS": "off"}, dev=True)
    scripts = Scripts(redis.commands)
    await scripts.load()
    recorder = RecordingDynamo(table.client)
    infrastructure = Infrastructure(
        ours, ManualClock(), DynamoTable(recorder, table.name), redis, scripts, "node-a"
    )
    services, background = compose(infrastructure)
    async with Until().running(background.pubsub.run):
        yield ComposedNode(services, background, table, redis, recorder.calls)


def refused_ack(code: str, message: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
    """Build the acknowledgement that a refused command gets."""
    error = {"code": code, "message": message, "retryable": retryable, **more}
    return {"ok": False, "error": error}
