"""A fix's way through this node, laid once: its parts lean on one another."""

from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.tracking.eta import Forecast
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from handlers.gateways.routing_engine import Router
from matching.speeds import Speeds


class Way(NamedTuple):
    """What a fix passes, and what follows from it."""

    drain: Drain
    roster: Roster
    lane: Lane
    guide: Guide
    router: Router | None


def lay_way(
    settings: Settings, clock: Clock, positions: Positions, watchers: Watchers, speeds: Speeds
) -> Way:
    """The parts as the settings want them; without `ROUTER_URL` nobody is asked for a way."""
    drain = Drain(positions, clock, settings.drain_flush_ms, settings.drain_riders_max)
    roster = Roster(drain, watchers, settings.fix_fresh_ms, settings.fix_lost_ms)
    url = settings.router_url
    router = Router(settings.router_kind, url, settings.router_timeout_ms) if url else None
    guide = Guide(watchers, Forecast(speeds, router))
    return Way(drain, roster, Lane(roster, watchers, drain, guide), guide, router)
