"""Alerts on the operators' sockets: the last ones at first, new ones as they are raised."""

import structlog

from dispatch import keys
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import Alerts, parse_alert
from dispatch.storage.pubsub import Feeds
from dispatch.wire import frames
from dispatch.wire.events import Alert
from handlers.transport.send_buffer import Outlet

log = structlog.get_logger(__name__)


class Alarm:
    """Every operator's socket of this node."""

    def __init__(self, alerts: Alerts, feeds: Feeds) -> None:
        self._alerts = alerts
        self._feeds = feeds
        self._outlets: dict[str, Outlet] = {}
        # By socket, what is raised while the last alerts are looked up; that takes milliseconds.
        self._held: dict[str, list[Alert]] = {}
        self._listening = False

    async def raise_(self, alert: Alert, every_ms: int) -> bool:
        """Tell the operators of every node, unless they were told the same not long ago.

        Errors: StoreUnavailable.
        """
        return await self._alerts.raise_(alert, every_ms)

    async def watch(self, sid: str, outlet: Outlet) -> None:
        """Tell a new socket the last alerts and, from here on, each new one once.

        Where Redis is away the past is left out; new alerts come as soon as it is back.
        """
        held = self._held[sid] = []
        try:
            await self._listen()
            recent = await self._alerts.recent()
        except StoreUnavailable as error:
            log.warning("alerts_not_shown", cause=error.cause)
            recent = []
        finally:
            del self._held[sid]
        self._outlets[sid] = outlet
        for alert in [*recent, *(each for each in held if each not in recent)]:
            outlet.tell(_packet(alert))

    async def _listen(self) -> None:
        if self._listening:
            return
        self._listening = True
        await self._feeds.open(keys.alerts_channel(), self._heard)

    def unwatch(self, sid: str) -> None:
        """The socket is gone."""
        self._outlets.pop(sid, None)

    def _heard(self, message: bytes) -> None:
        alert = parse_alert(message)
        for held in self._held.values():
            held.append(alert)
        packet = _packet(alert)
        for outlet in self._outlets.values():
            outlet.tell(packet)


def _packet(alert: Alert) -> bytes:
    return frames.event_packet("/ops", alert)
