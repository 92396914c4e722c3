"""A fix's way through this node, laid once: its parts lean on one another."""

from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.settings import Settings
from dispatch.store.positions import Positions
from dispatch.tracking.drain import Drain
from dispatch.tracking.forecast import Forecast
from dispatch.tracking.guide import Guide
from dispatch.tracking.lane import Lane
from dispatch.tracking.presence import Roster
from dispatch.tracking.watch import Watchers
from handlers.router import Router
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
