"""When each order must be looked at: while it is open by the engine, then for its trail."""

from collections.abc import Iterable, Mapping
from typing import Any

from dispatch import keys
from dispatch.errors import LeadershipLost
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors

# An order that was taken comes up again after this long, should its engine have died.
# Source: as long as a lease, so that it is no later than another engine.
CLAIM_MS = 3_000


class Timers:
    """The timers of one zone.

    Anybody may want an order to be looked at earlier; only the zone's live engine, by the token of
    its lease, takes what is due and says when to look again.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts, zone: str) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)
        self._scripts = scripts
        self.zone = zone
        # What this engine has taken and not put back, and until when; at most what is looked at.
        self._claims: dict[str, int] = {}

    async def arm(self, due: Mapping[str, int], *, trails: Mapping[str, int] | None = None) -> None:
        """Have orders looked at by then (order id -> Unix ms), and wake the engine.

        A timer that is set for an earlier moment stays: what comes late puts nothing off. `trails`
        are orders that have ended, and when their trails are whole.
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
        """Orders whose trails wait to be kept, oldest first.

        Redis: ZRANGE.
        """
        with translate_redis_errors():
            found: Any = await self._redis.zrange(
                keys.trails_due(self.zone), "-inf", now_ms, byscore=True, offset=0, num=limit
            )
        return [order.decode() for order in found]

    async def drop_trail(self, order_id: str) -> None:
        """Forget an order whose trail is kept, or has nothing to keep.

        Redis: ZREM; idempotent.
        """
        with translate_redis_errors():
            await self._redis.zrem(keys.trails_due(self.zone), order_id)

    async def arm_missing(self, due: Mapping[str, int]) -> int:
        """Set the timers of orders that have none (order id -> Unix ms); how many those were.

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
        """Take the orders whose time has come, oldest first; and when the next one's comes.

        Errors: Deposed where another engine rules.
        Redis: one script; atomic.
        """
        until_ms = now_ms + CLAIM_MS
        orders, later = await self._run("timers_claim", token, (now_ms, limit, until_ms))
        taken = [order.decode() for order in orders]
        self._claims |= dict.fromkeys(taken, until_ms)
        return taken, int(float(later)) if later else None

    async def reschedule(self, order_id: str, due_ms: int, token: int) -> None:
        """Say when an order that was taken wants its next look. Units: Unix ms.

        Errors: Deposed where another engine rules.
        Redis: one script; idempotent.
        """
        await self._set_due(order_id, due_ms, token)

    async def drop(self, order_id: str, token: int) -> None:
        """An order that was taken needs no engine any more.

        Errors: Deposed where another engine rules.
        Redis: one script; idempotent.
        """
        await self._set_due(order_id, "", token)

    async def _set_due(self, order_id: str, due_ms: int | str, token: int) -> None:
        claimed_ms = self._claims.pop(order_id, 0)
        await self._run("timers_reschedule", token, (order_id, claimed_ms, due_ms))

    async def _run(self, script: str, token: int, arguments: Iterable[str | int]) -> Any:
        names = (keys.timers(self.zone), keys.lease_token(self.zone))
        sha = self._scripts.sha(script)
        [answer] = await self._pipeline.run(
            [("EVALSHA", sha, len(names), *names, token, *arguments)]
        )
        if answer is None:
            self._claims.clear()
            raise LeadershipLost(self.zone)
        return answer


def _scores(by_order: Mapping[str, int]) -> Iterable[str | int]:
    """A mapping as ZADD wants it: each score before its member."""
    return (part for order_id, ms in by_order.items() for part in (ms, order_id))
