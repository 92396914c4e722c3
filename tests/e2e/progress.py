"""Progress lines on stderr for long-running commands."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.e2e.fleet import cancel

PROGRESS_EVERY_S = 10.0


def print_progress(command: str, line: str) -> None:
    """Write one progress line."""
    sys.stderr.write(f"{command}: {line}\n")


@asynccontextmanager
async def report_progress(command: str, progress: Callable[[], str]) -> AsyncIterator[None]:
    """Write a progress line every ten seconds until the block ends."""

    async def print_periodically() -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            print_progress(command, progress())

    task = asyncio.create_task(print_periodically())
    try:
        yield
    finally:
        await cancel(task)
