"""Wake-up signal for a background loop."""

import asyncio


class WakeUp:
    """Ends the wait of one loop early; a signal set while the loop works ends its next wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the loop; never waits."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the signal, which this clears, or for the timeout; whether it was the signal.

        Units: seconds.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
