"""Node reports: every node reports each second; those that do not are no longer live."""

from collections.abc import Iterable

import msgspec

from dispatch import keys
from dispatch.storage.redis_client import RedisClients, translate_redis_errors

# A node is live until this long after its last report; nodes report every second.
NODE_TIMEOUT_MS = 5_000
# A node's report is removed this long after it; every start of a server is another node.
NODE_EXPIRY_MS = 3600_000


class NodeReport(msgspec.Struct, frozen=True):
    """What one node reports: fixes since its last report, riders it holds. Units: Unix ms."""

    at_ms: int
    fixes: int
    riders: int


class NodeReports:
    """Writes this node's report and reads those of the others."""

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def report(self, node: str, report: NodeReport) -> dict[str, int]:
        """Store a node's report and count its fixes; when each live node last reported.

        Units: Unix milliseconds, each by its node's clock.

        Redis: HINCRBY, HSET and HGETALL, one round trip; HDEL where reports have expired.
        Errors: StoreUnavailable.
        """
        key = keys.node_reports()
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                if report.fixes:
                    pipe.hincrby(keys.totals(), "fixes", report.fixes)
                pipe.hset(key, node, f"{report.at_ms} {report.riders}")
                pipe.hgetall(key)
                stored = (await pipe.execute())[-1]
            reported_ms = {name: _parse(value)[0] for name, value in stored.items()}
            expired_ms = report.at_ms - NODE_EXPIRY_MS
            expired = [name for name, at_ms in reported_ms.items() if at_ms < expired_ms]
            if expired:
                await self._redis.hdel(key, *expired)
        live_ms = report.at_ms - NODE_TIMEOUT_MS
        return {name.decode(): at_ms for name, at_ms in reported_ms.items() if at_ms >= live_ms}


def count_riders(reports: Iterable[bytes], now_ms: int) -> int:
    """The riders held by live nodes. Shapes: the values of `keys.node_reports()`."""
    parsed = map(_parse, reports)
    return sum(riders for at_ms, riders in parsed if now_ms - at_ms <= NODE_TIMEOUT_MS)


def _parse(report: bytes) -> tuple[int, int]:
    """When a report was made (Unix ms) and the riders in it."""
    at_ms, riders = report.split()
    return int(at_ms), int(riders)
