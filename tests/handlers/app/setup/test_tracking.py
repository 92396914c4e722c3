"""Tracking: the parts a fix passes are connected."""

import pytest

from dispatch.storage.pubsub import PubSub
from dispatch.wire.commands import Fix
from handlers.app.setup.tracking import build_positions, build_tracking
from matching.speeds import LearnedSpeeds
from tests.handlers.app.conftest import OpenInfrastructure

pytestmark = pytest.mark.engines


async def test_a_fix_reaches_redis(infrastructure: OpenInfrastructure):
    """From the pipeline over the registry and the writer to the stored position."""
    built = infrastructure()
    await built.scripts.load()
    positions = build_positions(built)
    tracking = build_tracking(built, PubSub(built.redis), positions, LearnedSpeeds())
    tracking.rider_registry.connect("rdr_1")
    tracking.rider_registry.set_available("rdr_1", available=True)
    now_ms = built.clock.now_ms()
    assert tracking.fix_pipeline.process_fix("rdr_1", Fix(lat=4.05, lng=9.7), now_ms) is None
    await tracking.fix_pipeline.flush()
    stored = await positions.last_position("rdr_1")
    assert stored is not None
    assert (stored.lat, stored.lng) == (4.05, 9.7)
    assert tracking.routing_engine is None
