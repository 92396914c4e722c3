"""Builds the tracking of riders: fix pipeline, watchers, rider registry and Redis writer."""

from typing import NamedTuple

from dispatch.storage.pipeline import Pipeline
from dispatch.storage.pubsub import PubSub
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.fix_pipeline import FixPipeline
from dispatch.tracking.fixes.rules import fix_rules
from dispatch.tracking.freshness import FreshnessLimits
from dispatch.tracking.redis_writer import RedisWriter
from dispatch.tracking.rider_registry import RiderRegistry
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_index import RiderIndex
from dispatch.tracking.stores.source_claims import SourceClaims
from dispatch.tracking.tracking_policy import TrackingRules
from dispatch.tracking.watchers import Watchers
from handlers.app.infrastructure import Infrastructure
from handlers.gateways.routing_engine import RoutingEngine
from matching.speeds import LearnedSpeeds


class TrackingParts(NamedTuple):
    """What a fix passes through on this node; without `ROUTER_URL` no routing engine is asked."""

    writer: RedisWriter
    rider_registry: RiderRegistry
    watchers: Watchers
    fix_pipeline: FixPipeline
    tracking_rules: TrackingRules
    routing_engine: RoutingEngine | None
    source_claims: SourceClaims


def build_positions(infrastructure: Infrastructure) -> Positions:
    """The position store of this node."""
    redis, scripts = infrastructure.redis.commands, infrastructure.scripts
    lost_ms = infrastructure.settings.fix_lost_ms
    return Positions(Pipeline(redis, scripts), scripts, infrastructure.node, lost_ms)


def build_rider_index(infrastructure: Infrastructure) -> RiderIndex:
    """The searches of the geo index."""
    redis, scripts = infrastructure.redis.commands, infrastructure.scripts
    return RiderIndex(Pipeline(redis, scripts), scripts, infrastructure.settings.fix_lost_ms)


def build_tracking(
    infrastructure: Infrastructure, pubsub: PubSub, positions: Positions, speeds: LearnedSpeeds
) -> TrackingParts:
    """The parts as the settings configure them."""
    settings, clock = infrastructure.settings, infrastructure.clock
    writer = RedisWriter(positions, clock, settings.drain_flush_ms, settings.drain_riders_max)
    watchers = Watchers(pubsub, infrastructure.node)
    limits = FreshnessLimits(settings.fix_fresh_ms, settings.fix_lost_ms)
    registry = RiderRegistry(writer, watchers, limits, fix_rules(settings))
    url = settings.router_url
    engine = RoutingEngine(settings.router_kind, url, settings.router_timeout_ms) if url else None
    rules = TrackingRules(watchers, EtaEstimator(speeds, engine))
    return TrackingParts(
        writer=writer,
        rider_registry=registry,
        watchers=watchers,
        fix_pipeline=FixPipeline(registry, watchers, writer, rules),
        tracking_rules=rules,
        routing_engine=engine,
        source_claims=SourceClaims(Pipeline(infrastructure.redis.commands, infrastructure.scripts)),
    )
