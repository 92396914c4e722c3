"""Timers: when each open order is due for the engine, and each ended one for its trail."""

from collections.abc import Iterable, Mapping
from typing import Any

from dispatch import keys
from dispatch.errors import LeadershipLost
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors

# How long a claimed order is not due: if its engine dies, another one gets it after this time.
# Source: as long as a lease, so that it is due when another engine takes over.
CLAIM_MS = 3_000


class Timers:
    """The timers of one zone; an index of deadlines, which stand in the orders themselves.

    Every node may set an earlier timer. Only the zone's live engine, under the token of its lease,
    claims due orders and reschedules or drops them.

    Errors: every method raises StoreUnavailable where Redis cannot answer.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts, zone: str) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)
        self._scripts = scripts
        self.zone = zone
        # Orders that this engine has claimed and not rescheduled or dropped yet, and until when.
        self._claims: dict[str, int] = {}

    async def arm(self, due: Mapping[str, int], *, trails: Mapping[str, int] | None = None) -> None:
        """Set timers (order id -> Unix ms), unless an earlier one is set, and wake the engine.

        `trails` are ended orders, and when their trails are complete.
        Redis: ZADD LT, ZADD and SPUBLISH, one round trip; idempotent.
        """
        if not due and not trails:
            return
        commands: list[Command] = []
        if trails:
            commands.append(("ZADD", keys.trails_due(self.zone), *_scores(trails)))
        if due:
            commands.append(("ZADD", keys.timers(self.zone), "LT", *_scores(due)))
            commands.append(("SPUBLISH", keys.engine_channel(self.zone), "1"))
        await self._pipeline.run(commands)

    async def trails_due(self, now_ms: int, limit: int) -> list[str]:
        """Ended orders whose trails are due for archiving, oldest first. Units: Unix ms.

        Redis: ZRANGE.
        """
        with translate_redis_errors():
            found: Any = await self._redis.zrange(
                keys.trails_due(self.zone), "-inf", now_ms, byscore=True, offset=0, num=limit
            )
        return [order_id.decode() for order_id in found]

    async def drop_trail(self, order_id: str) -> None:
        """Remove an order whose trail is archived or empty.

        Redis: ZREM; idempotent.
        """
        with translate_redis_errors():
            await self._redis.zrem(keys.trails_due(self.zone), order_id)

    async def arm_missing(self, due: Mapping[str, int]) -> int:
        """Set the timers of orders that have none (order id -> Unix ms); how many there were.

        Redis: ZADD NX, and SPUBLISH where one was missing; two round trips at most; idempotent.
        """
        if not due:
            return 0
        with translate_redis_errors():
            added = await self._redis.zadd(keys.timers(self.zone), dict(due), nx=True)
            missing = int(added or 0)
            if missing:
                await self._redis.spublish(keys.engine_channel(self.zone), "1")
        return missing

    async def claim(self, now_ms: int, limit: int, token: int) -> tuple[list[str], int | None]:
        """Claim due orders, oldest first; their ids, and when the next order is due (Unix ms).

        Errors: LeadershipLost where another engine has a newer lease.
        Redis: one script; atomic.
        """
        until_ms = now_ms + CLAIM_MS
        orders, next_due = await self._run("timers_claim", token, (now_ms, limit, until_ms))
        claimed = [order_id.decode() for order_id in orders]
        self._claims |= dict.fromkeys(claimed, until_ms)
        return claimed, int(float(next_due)) if next_due else None

    async def reschedule(self, order_id: str, due_ms: int, token: int) -> None:
        """Set when a claimed order is due next, unless an earlier timer was set meanwhile.

        Units: Unix ms.
        Errors: LeadershipLost where another engine has a newer lease.
        Redis: one script; idempotent.
        """
        await self._set_due(order_id, due_ms, token)

    async def drop(self, order_id: str, token: int) -> None:
        """Remove the timer of a claimed order, unless another one was set meanwhile.

        Errors: LeadershipLost where another engine has a newer lease.
        Redis: one script; idempotent.
        """
        await self._set_due(order_id, "", token)

    async def _set_due(self, order_id: str, due_ms: int | str, token: int) -> None:
        claimed_ms = self._claims.pop(order_id, 0)
        await self._run("timers_reschedule", token, (order_id, claimed_ms, due_ms))

    async def _run(self, script: str, token: int, arguments: Iterable[str | int]) -> Any:
        script_keys = (keys.timers(self.zone), keys.lease_token(self.zone))
        sha = self._scripts.sha(script)
        [answer] = await self._pipeline.run(
            [("EVALSHA", sha, len(script_keys), *script_keys, token, *arguments)]
        )
        if answer is None:
            self._claims.clear()
            raise LeadershipLost(self.zone)
        return answer


def _scores(by_order: Mapping[str, int]) -> Iterable[str | int]:
    """The arguments of ZADD: each score before its member."""
    return (part for order_id, ms in by_order.items() for part in (ms, order_id))
