"""Wake-up signals: they end a wait at once, and are not lost while the loop works."""

import asyncio

from concurrency.wakeup import WakeUp
from tests import virtual_time


def test_signal_ends_the_wait():
    """A signal during the wait ends it at once."""

    async def main() -> None:
        wakeup = WakeUp()
        waiting = asyncio.ensure_future(wakeup.wait(60.0))
        await virtual_time.sleep(1.0)
        wakeup.set()
        assert await waiting
        assert virtual_time.clock().monotonic_s() == 1.0

    virtual_time.run(main())


def test_earlier_signal_ends_the_next_wait_once():
    """Signals before the wait end it at once; the wait after it is not ended by them."""

    async def main() -> None:
        wakeup = WakeUp()
        wakeup.set()
        wakeup.set()
        assert await wakeup.wait(60.0)
        assert virtual_time.clock().monotonic_s() == 0.0
        assert not await wakeup.wait(60.0)

    virtual_time.run(main())


def test_wait_ends_at_its_timeout():
    """Without a signal the wait ends at its timeout and says so."""

    async def main() -> None:
        wakeup = WakeUp()
        assert not await wakeup.wait(5.0)
        assert virtual_time.clock().monotonic_s() == 5.0

    virtual_time.run(main())
