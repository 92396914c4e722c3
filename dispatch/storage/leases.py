"""Leases with an expiry and a fencing token: one node at a time has a role."""

from typing import NamedTuple

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import LeadershipLost
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors

# Source: docs/promises.md, offers end at most 5 s late after a kill of the engine: 3 s until the
# lease expires, 0.5 s until another node asks for it, the rest for processing what is due.
TTL_MS = 3_000


class Lease(NamedTuple):
    """An acquired lease; a later one of the same name has a greater token."""

    name: str
    token: int


class Leases:
    """Acquires, renews and releases leases for one node.

    Errors: every method raises StoreUnavailable where Redis cannot answer.
    """

    def __init__(self, scripts: Scripts, node: str, ttl_ms: int = TTL_MS) -> None:
        self._scripts = scripts
        self._node = node
        self.ttl_ms = ttl_ms

    async def acquire(self, name: str) -> Lease | None:
        """Acquire a lease, None where another node holds it.

        Redis: one script; atomic. A repeat by the holder gives the lease a new token.
        """
        names = (keys.lease(name), keys.lease_token(name))
        token = int(await self._scripts.run("lease_acquire", names, (self._node, self.ttl_ms)))
        return Lease(name, token) if token else None

    async def renew(self, lease: Lease) -> bool:
        """Extend a lease by its full time from now; False where this node no longer holds it.

        Redis: one script; idempotent.
        """
        return await self._renew(lease, self.ttl_ms)

    async def release(self, lease: Lease) -> bool:
        """Release a lease before it expires; False where this node no longer held it.

        Redis: one script; idempotent.
        """
        return await self._renew(lease, 0)

    async def _renew(self, lease: Lease, ttl_ms: int) -> bool:
        arguments = (lease.token, ttl_ms)
        return bool(await self._scripts.run("lease_renew", (keys.lease(lease.name),), arguments))


async def is_lease_held(redis: RedisClients, name: str) -> bool:
    """Whether any node holds a lease.

    Errors: StoreUnavailable.
    Redis: EXISTS.
    """
    with translate_redis_errors():
        return bool(await redis.commands.exists(keys.lease(name)))


class Fence:
    """Local fence: an engine may write only until its lease ends by the node's own clock.

    A process that was suspended finds its lease expired before it writes. Source: decision 9.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._token = 0
        self._until_s = float("-inf")

    @property
    def remaining_s(self) -> float:
        """How long the lease still holds, whatever Redis does. Units: seconds."""
        return self._until_s - self._clock.monotonic_s()

    def grant(self, token: int, until_s: float) -> None:
        """The lease was acquired or renewed until `until_s`. Units: seconds of the steady clock."""
        self._token, self._until_s = token, until_s

    def revoke(self) -> None:
        """The lease was lost or released."""
        self._until_s = float("-inf")

    def token(self) -> int:
        """The fencing token that the live engine's writes carry.

        Errors: LeadershipLost where the lease has ended.
        """
        if self.remaining_s <= 0:
            raise LeadershipLost(f"lease {self._token} has expired")
        return self._token
