"""Background loops: which of them a node runs, and what its sweep reports."""

import pytest

from dispatch import keys
from dispatch.clock import SystemClock
from dispatch.supervise import Supervisor
from handlers.app.background_tasks import common_loops, edge_loops, engine_loops, spawn_all
from handlers.app.composition import compose
from tests.handlers.app.conftest import OpenInfrastructure
from tests.waiting import Until

pytestmark = pytest.mark.engines


async def test_all_loops_run_side_by_side(infrastructure: OpenInfrastructure, until: Until):
    """Under one supervisor they all live, and the pipeline's sweep reports this node."""
    built = infrastructure()
    await built.scripts.load()
    services, background = compose(built)
    supervisor = Supervisor(SystemClock().monotonic_s)
    loops = {
        **common_loops(services, background), **edge_loops(services, background),
        **engine_loops(services, background),
    }  # fmt: skip
    spawn_all(supervisor, loops)

    async def is_reported() -> bool:
        return await built.redis.commands.hexists(keys.node_reports(), "node-a")

    await until.eventually(is_reported)
    assert set(supervisor.names) == set(loops)
    await background.tracking.writer.close(1.0)
    await background.outbox.close(1.0)
    await supervisor.stop(5.0)
    assert supervisor.names == ()
