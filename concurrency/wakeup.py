"""What wakes a loop that rests."""

import asyncio


class Bell:
    """Rung while its loop is busy, it ends the next rest at once."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the loop; never waits."""
        self._rung.set()

    async def rest(self, seconds: float) -> bool:
        """Wait for the bell, or for as long; whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True
