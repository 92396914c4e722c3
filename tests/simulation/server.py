"""One server of the town: the product as it is, on the town's stores, network and time."""

import asyncio
import contextvars
from contextlib import AsyncExitStack
from typing import Any

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.redis_client import Scripts, open_redis
from handlers.app import composition
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo
from tests.simulation.event_log import Diary
from tests.simulation.transport import Plug
from tests.simulation.virtual_loop import LIFE, Life, TownLoop

TABLE = "reeyo"
REDIS_URL = "redis://redis:6379/0"
# An orchestrator starts a server that could not start again after this long.
AGAIN_S = 1.0


class Doomed:
    """The low-level client of one server, which may die with a write done and nothing said."""

    def __init__(self, dynamo: FakeDynamo, node: "Node") -> None:
        self._dynamo = dynamo
        self._node = node

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._dynamo, operation)

    async def transact_write_items(self, **request: Any) -> Any:
        """As the fake's; an order's step may be the last thing the server does."""
        answer = await self._dynamo.transact_write_items(**request)
        if self._node.dies_after and _is_step(request):
            self._node.dies_after -= 1
            if not self._node.dies_after:
                self._node.kill()
                await asyncio.get_running_loop().create_future()
        return answer


def _is_step(request: dict[str, Any]) -> bool:
    puts = [part["Put"]["Item"] for part in request["TransactItems"] if "Put" in part]
    return any(item["PK"]["S"].startswith("OUTBOX#") for item in puts)


class Node:
    """A server that is started again whenever it has ended."""

    def __init__(self, name: str, settings: Settings, dynamo: FakeDynamo, diary: Diary) -> None:
        self.name = name
        # After so many steps of orders it dies; 0 is never.
        self.dies_after = 0
        self.lives: list[Life] = []
        self._settings = settings
        self._dynamo = dynamo
        self._diary = diary
        self._life: Life | None = None
        self._gone = asyncio.Event()
        self._stopped = asyncio.Event()
        # How long it stays away after its next end.
        self.away_s = AGAIN_S

    async def run(self, clock: Clock) -> None:
        """Live, again and again."""
        while True:
            life = self._life = Life(self.name)
            self.lives.append(life)
            self._gone, self._stopped, self.dies_after = asyncio.Event(), asyncio.Event(), 0
            context = contextvars.copy_context()
            context.run(LIFE.set, life)
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._live(clock), context=context)
            gone = loop.create_task(self._gone.wait())
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if not life.is_over:
                # It ended by itself: its connections end with it.
                why = "stopped" if self._stopped.is_set() else repr(task.exception())
                self._diary.note("node:" + self.name, "ended", why=why)
                _loop().kill(life)
            await asyncio.sleep(self.away_s)
            self.away_s = AGAIN_S

    def kill(self) -> bool:
        """End it where it stands; False where it was not running."""
        if self._life is None or self._life.is_over:
            return False
        self._diary.note("node:" + self.name, "killed")
        _loop().kill(self._life)
        self._gone.set()
        return True

    def stop(self) -> None:
        """Ask it to end in order, as by SIGTERM."""
        self._diary.note("node:" + self.name, "asked to stop")
        self._stopped.set()

    async def _live(self, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(open_redis(REDIS_URL))
            table = DynamoTable(Doomed(self._dynamo, self), TABLE)
            scripts = Scripts(redis.commands)
            await _insist(scripts)
            basis = composition.Basis(
                self._settings, clock, table, redis, scripts, ids.mint("node")
            )
            plug: Any = Plug(self.name)
            await composition.run(basis, plug, self._stopped, self._ready)
            await table.finish()

    def _ready(self) -> None:
        self._diary.note("node:" + self.name, "ready")


def _loop() -> TownLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TownLoop)
    return loop


async def _insist(scripts: Scripts) -> None:
    while True:
        try:
            return await scripts.load()
        except StoreUnavailable:
            await asyncio.sleep(AGAIN_S)
