"""Readiness at start: waits until the stores answer, and says meanwhile which one does not."""

import asyncio
from collections.abc import Mapping

import structlog

from dispatch.clock import Clock
from handlers.http.framework.health import Probe, find_down

RETRY_S = 0.25
# Source: chosen; an operator who watches the log sees why nothing happens, and a log is not filled.
REPEAT_EVERY_S = 10.0

log = structlog.get_logger(__name__)


async def wait_until_ready(
    probes: Mapping[str, Probe], stopped: asyncio.Event, clock: Clock
) -> bool:
    """Wait until every probe succeeds; False where the server is stopped before."""
    reported_s = float("-inf")
    while not stopped.is_set():
        down = await find_down(probes)
        if not down:
            return True
        if clock.monotonic_s() - reported_s >= REPEAT_EVERY_S:
            reported_s = clock.monotonic_s()
            log.warning("not_ready", down=down)
        await asyncio.sleep(RETRY_S)
    return False
