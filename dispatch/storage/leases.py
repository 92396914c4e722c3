"""Who is the one that does something: a lease with an end and a fencing token."""

from typing import NamedTuple

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import LeadershipLost
from dispatch.storage.redis_client import Scripts

# Source: promise, another engine goes on at most 5 s after a kill: three for the lease's end, half
# a second until it is asked for, the rest for looking at what is due.
TTL_MS = 3_000


class Lease(NamedTuple):
    """A lease that was taken; a later one of the same name has a greater token."""

    name: str
    token: int


class Leases:
    """Takes, renews and gives back the leases of one node.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, scripts: Scripts, node: str, ttl_ms: int = TTL_MS) -> None:
        self._scripts = scripts
        self._node = node
        self.ttl_ms = ttl_ms

    async def acquire(self, name: str) -> Lease | None:
        """Take a lease, None where another node holds it.

        Redis: one script; atomic. Repeating it gives a new token for the same lease.
        """
        names = (keys.lease(name), keys.lease_token(name))
        token = int(await self._scripts.run("lease_acquire", names, (self._node, self.ttl_ms)))
        return Lease(name, token) if token else None

    async def renew(self, lease: Lease) -> bool:
        """Hold a lease for its whole time from now on; False where it is ours no more.

        Redis: one script; idempotent.
        """
        return await self._renew(lease, self.ttl_ms)

    async def release(self, lease: Lease) -> bool:
        """Give a lease back, so that nobody waits for its end; False where it was ours no more.

        Redis: one script; idempotent.
        """
        return await self._renew(lease, 0)

    async def _renew(self, lease: Lease, ttl_ms: int) -> bool:
        arguments = (lease.token, ttl_ms)
        return bool(await self._scripts.run("lease_renew", (keys.lease(lease.name),), arguments))


class Fence:
    """Lets an engine write while it rules, and no longer, whatever it was about to do.

    Source: decision 9; a process that was stopped and goes on finds its lease over by its own
    clock, before it asks anybody.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._token = 0
        self._until_s = float("-inf")

    @property
    def remaining_s(self) -> float:
        """For how long the lease is ours, whatever Redis does."""
        return self._until_s - self._clock.monotonic_s()

    def grant(self, token: int, until_s: float) -> None:
        """The lease is ours under this token until then. Units: seconds of the steady clock."""
        self._token, self._until_s = token, until_s

    def revoke(self) -> None:
        """The lease is ours no more."""
        self._until_s = float("-inf")

    def token(self) -> int:
        """What a write of the live engine carries.

        Errors: Deposed.
        """
        if self.remaining_s <= 0:
            raise LeadershipLost(f"lease {self._token} is over")
        return self._token
