"""A fix's way through this node, laid once: its parts lean on one another."""

from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_state import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from handlers.gateways.routing_engine import RoutingEngine
from matching.speeds import LearnedSpeeds


class TrackingParts(NamedTuple):
    """What a fix passes, and what follows from it."""

    writer: RedisWriter
    rider_registry: RiderRegistry
    fix_pipeline: FixPipeline
    tracking_rules: TrackingRules
    routing_engine: RoutingEngine | None


def build_tracking(
    settings: Settings,
    clock: Clock,
    positions: Positions,
    watchers: Watchers,
    speeds: LearnedSpeeds,
) -> TrackingParts:
    """The parts as the settings want them; without `ROUTER_URL` nobody is asked for a way."""
    drain = RedisWriter(positions, clock, settings.drain_flush_ms, settings.drain_riders_max)
    roster = RiderRegistry(drain, watchers, settings.fix_fresh_ms, settings.fix_lost_ms)
    url = settings.router_url
    router = RoutingEngine(settings.router_kind, url, settings.router_timeout_ms) if url else None
    guide = TrackingRules(watchers, EtaEstimator(speeds, router))
    return TrackingParts(drain, roster, FixPipeline(roster, watchers, drain, guide), guide, router)
