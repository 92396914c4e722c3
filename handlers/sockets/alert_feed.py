"""Alert feed: sends operators the last alerts at connect, and new ones as they are raised."""

import structlog

from dispatch import keys
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import Alerts, parse_alert
from dispatch.storage.pubsub import PubSub
from dispatch.wire import frames
from dispatch.wire.events import Alert
from handlers.sessions.session_registry import PacketSender

log = structlog.get_logger(__name__)


class AlertFeed:
    """Sends alerts to the operators' sockets of this node."""

    def __init__(self, alerts: Alerts, pubsub: PubSub) -> None:
        self._alerts = alerts
        self._pubsub = pubsub
        self._senders: dict[str, PacketSender] = {}
        # By sid, alerts raised while the last ones are read; that takes milliseconds.
        self._pending: dict[str, list[Alert]] = {}
        self._is_listening = False

    async def raise_alert(self, alert: Alert, every_ms: int) -> bool:
        """Send an alert to the operators of every node, at most once in `every_ms` for one cause.

        Errors: StoreUnavailable.
        """
        return await self._alerts.raise_alert(alert, every_ms)

    async def subscribe(self, sid: str, sender: PacketSender) -> None:
        """Send a new socket the last alerts and, from then on, each new one once.

        Where Redis is away the last alerts are left out; new ones come as soon as it is back.
        """
        pending = self._pending[sid] = []
        try:
            await self._open_channel()
            recent = await self._alerts.recent()
        except StoreUnavailable as error:
            log.warning("alerts_not_shown", cause=error.cause)
            recent = []
        finally:
            del self._pending[sid]
        self._senders[sid] = sender
        for alert in [*recent, *(each for each in pending if each not in recent)]:
            sender.send_event(_encode(alert))

    async def _open_channel(self) -> None:
        if self._is_listening:
            return
        self._is_listening = True
        await self._pubsub.subscribe(keys.alerts_channel(), self._on_message)

    def unsubscribe(self, sid: str) -> None:
        """Send a socket no further alerts."""
        self._senders.pop(sid, None)

    def _on_message(self, message: bytes) -> None:
        alert = parse_alert(message)
        for pending in self._pending.values():
            pending.append(alert)
        packet = _encode(alert)
        for sender in self._senders.values():
            sender.send_event(packet)


def _encode(alert: Alert) -> bytes:
    return frames.encode_event("/ops", alert)
