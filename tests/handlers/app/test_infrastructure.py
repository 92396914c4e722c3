"""Infrastructure: embedded engines under --dev, and stores that are closed again."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dispatch import settings
from handlers.app.infrastructure import open_infrastructure
from ledger.dynamodb.table import Key

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_dev_opens_embedded_stores_with_their_schema(tmp_path: Path):
    """The table can be read, Redis has the scripts, and each opening has its own node id."""
    ours = settings.read({"DATA_DIR": str(tmp_path)}, dev=True)
    async with AsyncExitStack() as stack:
        opened = await open_infrastructure(ours, stack)
        assert await opened.table.get(Key("CONFIG#GLOBAL", "SERVICES")) is None
        assert await opened.redis.commands.ping()
        assert opened.scripts.sha("connection_add")
        assert opened.node.startswith("node_")
