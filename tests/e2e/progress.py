"""What a long command says on stderr while it works."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.e2e.fleet import cancel

PROGRESS_EVERY_S = 10.0


def print_progress(command: str, line: str) -> None:
    """One line for whoever watches."""
    sys.stderr.write(f"{command}: {line}\n")


@asynccontextmanager
async def report_progress(command: str, progress: Callable[[], str]) -> AsyncIterator[None]:
    """Say every ten seconds how far the block has come."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            print_progress(command, progress())

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        await cancel(task)
