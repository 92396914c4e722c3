"""What wakes a loop that rests."""

import asyncio


class WakeUp:
    """Rung while its loop is busy, it ends the next rest at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the loop; never waits."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the bell, or for as long; whether it rang."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
