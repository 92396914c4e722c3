"""Orders: the order service and the engine work on the same stores."""

import pytest

from handlers.app.setup.events import build_event_parts
from handlers.app.setup.orders import build_order_parts
from handlers.app.setup.tracking import build_positions
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


async def test_engine_and_order_service_share_fence_and_learned_data(
    infrastructure: OpenInfrastructure,
):
    """What the order service learns is what the engine decides by, under one fence."""
    built = infrastructure()
    positions = build_positions(built)
    parts = build_order_parts(built, build_event_parts(built), positions)
    assert parts.lookups.fence is parts.stores.fence
    assert parts.lookups.speeds is parts.stores.speeds
    assert parts.lookups.learned_stats is parts.stores.learned_stats
    assert parts.lookups.positions is positions
