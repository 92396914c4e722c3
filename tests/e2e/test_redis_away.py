"""Orders continue while Redis is down, and every event arrives when it is back."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.listeners import wait_for
from tests.e2e.redis_away import Size, is_good, measure


@pytest.mark.slow
@pytest.mark.parametrize("is_flushed", [False, True])
async def test_nothing_is_lost_while_redis_is_away(tmp_path: Path, is_flushed):
    """Three seconds without Redis lose or reorder no event, and positions go on."""
    figures = await measure(Size(3.0, 8, is_flushed), 1, tmp_path)

    # Other tests share the cores; the full command checks the promised times.
    assert is_good(figures, slack=5), figures


@pytest.mark.slow
async def test_a_server_that_is_started_without_redis_waits_for_it(tmp_path: Path):
    """A server started without Redis waits for it and becomes ready.

    One that was killed together with Redis was restarted first, and exited.
    """
    async with fleet(tmp_path, ["all"]) as servers:
        await servers.valkey.kill()
        starting = asyncio.create_task(servers.launch())
        log = tmp_path / "node1" / "server.log"
        await wait_for(
            lambda: log.exists() and "redis_unavailable_at_start" in log.read_text(), 30.0
        )
        await servers.valkey.start()
        node = await starting

        assert not node.server.has_ended
        assert "redis_unavailable_at_start" in log.read_text()
