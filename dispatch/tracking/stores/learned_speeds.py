"""Learned speeds in Redis: shares the street speeds that each node has learned with all nodes.

Estimates only: losing them makes ETAs worse until they are learned again.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from dispatch import keys
from dispatch.errors import StoreUnavailable
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from matching.speeds import MEMORY_S, WHOLE_CITY, LearnedSpeeds, SpeedKey, SpeedSample

# Other nodes know what one has learned within this time. Source: chosen; speeds are kept by the
# hour of the day.
SHARE_EVERY_S = 30.0
# After a month without a rider a place falls back to the speed of the city.
TTL_S = 30 * 24 * 3600
# Places read by one node; more cells than any city has.
PLACES_MAX = 512


class SharedSpeeds:
    """Writes what this node has learned, and reads the sum over all nodes."""

    def __init__(self, clients: RedisClients, scripts: Scripts, speeds: LearnedSpeeds) -> None:
        self._redis = clients.commands
        self._scripts = scripts
        self._speeds = speeds
        self._places: set[str] = {WHOLE_CITY}

    async def run(self) -> None:
        """Background loop: share every half minute; while Redis is unavailable keep learning."""
        while True:
            with suppress(StoreUnavailable):
                await self.share()
            await asyncio.sleep(SHARE_EVERY_S)

    async def share(self) -> None:
        """Add what was learned here, then read the places where riders of this node drive.

        Redis: one script for each place that was learned, one round trip each; one pipeline of
        HGETALL for all known places; not atomic.
        Errors: StoreUnavailable; what was learned is kept, so that places that were written before
        the error count it twice.
        """
        learned = self._speeds.take_unshared()
        try:
            await self._write(learned)
        except StoreUnavailable:
            self._speeds.restore_unshared(learned)
            raise
        for place, _, _ in learned:
            if len(self._places) < PLACES_MAX:
                self._places.add(place)
        self._speeds.replace_shared(await self._read())

    async def _write(self, learned: Mapping[SpeedKey, SpeedSample]) -> None:
        by_place: dict[str, list[str]] = {}
        for (place, hour, vehicle), (metres, seconds) in learned.items():
            fields = (f"{hour}:{vehicle}", f"{metres:.1f}", f"{seconds:.1f}")
            by_place.setdefault(place, []).extend(fields)
        for place, fields in by_place.items():
            arguments = (MEMORY_S, TTL_S, *fields)
            await self._scripts.run("faded_sum_add", [keys.place_speeds(place)], arguments)

    async def _read(self) -> Iterable[tuple[SpeedKey, SpeedSample]]:
        places = sorted(self._places)
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for place in places:
                    pipe.hgetall(keys.place_speeds(place))
                replies: list[Any] = await pipe.execute()
        return [
            sample
            for place, fields in zip(places, replies, strict=True)
            for sample in _parse_speeds(place, fields)
        ]


def _parse_speeds(
    place: str, fields: Mapping[bytes, bytes]
) -> Iterator[tuple[SpeedKey, SpeedSample]]:
    for field, text in fields.items():
        hour, _, vehicle = field.decode().partition(":")
        metres, _, seconds = text.decode().partition(" ")
        yield (place, int(hour), vehicle), (float(metres), float(seconds))
