"""What all nodes have learned of the streets' speeds, in Redis; an estimate's memory, no truth."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from dispatch import keys
from dispatch.errors import StoreUnavailable
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from matching.speeds import MEMORY_S, WHOLE_CITY, LearnedSpeeds, SpeedKey, SpeedSample

# What a node learns others know half a minute later; the speed of an hour changes no faster.
SHARE_EVERY_S = 30.0
# A place where nobody drove for a month is as fast as the city.
TTL_S = 30 * 24 * 3600
# Places read in one round; more than any city has.
PLACES_MAX = 512


class SharedSpeeds:
    """Shares what this node learns, and reads what all have."""

    def __init__(self, clients: RedisClients, scripts: Scripts, speeds: LearnedSpeeds) -> None:
        self._redis = clients.commands
        self._scripts = scripts
        self._speeds = speeds
        self._places: set[str] = {WHOLE_CITY}

    async def run(self) -> None:
        """Share and read, for as long as the server runs."""
        while True:
            with suppress(StoreUnavailable):
                # What was learned meanwhile waits here for the next time.
                await self.share()
            await asyncio.sleep(SHARE_EVERY_S)

    async def share(self) -> None:
        """Add what was learned here, then read the places where riders of this node drive.

        Redis: a script for each place with news, HGETALL for each known place, one round trip each.
        Errors: StoreUnavailable; the news are kept.
        """
        news = self._speeds.take_unshared()
        try:
            await self._write(news)
        except StoreUnavailable:
            self._speeds.restore_unshared(news)
            raise
        for place, _, _ in news:
            if len(self._places) < PLACES_MAX:
                self._places.add(place)
        self._speeds.replace_shared(await self._read())

    async def _write(self, learned: Mapping[SpeedKey, SpeedSample]) -> None:
        by_place: dict[str, list[str]] = {}
        for (place, hour, vehicle), (metres, seconds) in learned.items():
            words = (f"{hour}:{vehicle}", f"{metres:.1f}", f"{seconds:.1f}")
            by_place.setdefault(place, []).extend(words)
        for place, words in by_place.items():
            arguments = (MEMORY_S, TTL_S, *words)
            await self._scripts.run("faded_sum_add", [keys.place_speeds(place)], arguments)

    async def _read(self) -> Iterable[tuple[SpeedKey, SpeedSample]]:
        places = sorted(self._places)
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for place in places:
                    pipe.hgetall(keys.place_speeds(place))
                found: list[Any] = await pipe.execute()
        return [
            line
            for place, lines in zip(places, found, strict=True)
            for line in _parse_speeds(place, lines)
        ]


def _parse_speeds(
    place: str, lines: Mapping[bytes, bytes]
) -> Iterator[tuple[SpeedKey, SpeedSample]]:
    for field, text in lines.items():
        hour, _, vehicle = field.decode().partition(":")
        metres, _, seconds = text.decode().partition(" ")
        yield (place, int(hour), vehicle), (float(metres), float(seconds))
