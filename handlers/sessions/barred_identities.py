"""Barred identities: people who are suspended or closed, in this process's memory."""

from collections.abc import Callable
from typing import NamedTuple

from dispatch.accounts.people import People, StandingNotice
from dispatch.accounts.standing import Standing
from dispatch.keys import Identity, identity

# Standing and reason of an identity that may not take part, None for the others.
StandingLookup = Callable[[Identity], tuple[Standing, str] | None]


def not_barred(_owner: Identity) -> None:
    """The lookup of a server that knows of no one barred."""


class _Record(NamedTuple):
    """The newest standing that this node has read of an identity."""

    version: int
    standing: Standing
    reason: str
    is_barred: bool


def _ignore(_owner: Identity) -> object:
    return None


class BarredIdentities:
    """Who may not connect, whatever token it has.

    Read whole once, then by the notices of each change. An entry for a person who was admitted
    again stays, so that an older notice cannot bar it.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self._known: dict[Identity, _Record] = {}
        self._is_loaded = False
        # Called for each person who may not take part, barred or not, whenever it is read.
        self.on_inactive: Callable[[Identity], object] = _ignore

    def __len__(self) -> int:
        """How many identities are barred."""
        return sum(known.is_barred for known in self._known.values())

    def standing_of(self, owner: Identity) -> tuple[Standing, str] | None:
        """Standing and reason of a barred identity, None for the others."""
        known = self._known.get(owner)
        return (known.standing, known.reason) if known is not None and known.is_barred else None

    async def refresh(self, since_ms: int) -> bool:
        """Read the changes since a time; whether there are new ones. Units: Unix milliseconds.

        Errors: StoreUnavailable.
        """
        notices = await self._people.notices_since(since_ms)
        if not self._is_loaded:
            notices += await self._people.list_barred()
            self._is_loaded = True
        newest: dict[Identity, StandingNotice] = {}
        for notice in sorted(notices, key=lambda each: each.standing_version):
            newest[identity(notice.user_type.lower(), notice.person_id)] = notice
        for owner, notice in newest.items():
            if not self._people.rules.is_active(notice.standing):
                self.on_inactive(owner)
        changes = [self._apply(owner, notice) for owner, notice in newest.items()]
        return any(changes)

    def _apply(self, owner: Identity, notice: StandingNotice) -> bool:
        before = self._known.get(owner)
        if before is not None and before.version >= notice.standing_version:
            return False
        if before is None and not notice.is_barred:
            # Most changes approve people who were never barred: nothing to keep.
            return False
        self._known[owner] = _Record(
            notice.standing_version, notice.standing, notice.reason, notice.is_barred
        )
        return True
