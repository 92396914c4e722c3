"""Alerts on the operators' sockets: the last ones at first, new ones as they are raised."""

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
    """Every operator's socket of this node."""

    def __init__(self, alerts: Alerts, pubsub: PubSub) -> None:
        self._alerts = alerts
        self._pubsub = pubsub
        self._senders: dict[str, PacketSender] = {}
        # By socket, what is raised while the last alerts are looked up; that takes milliseconds.
        self._pending: dict[str, list[Alert]] = {}
        self._is_listening = False

    async def raise_alert(self, alert: Alert, every_ms: int) -> bool:
        """Tell the operators of every node, unless they were told the same not long ago.

        Errors: StoreUnavailable.
        """
        return await self._alerts.raise_alert(alert, every_ms)

    async def subscribe(self, sid: str, sender: PacketSender) -> None:
        """Tell a new socket the last alerts and, from here on, each new one once.

        Where Redis is away the past is left out; new alerts come as soon as it is back.
        """
        held = self._pending[sid] = []
        try:
            await self._open_channel()
            recent = await self._alerts.recent()
        except StoreUnavailable as error:
            log.warning("alerts_not_shown", cause=error.cause)
            recent = []
        finally:
            del self._pending[sid]
        self._senders[sid] = sender
        for alert in [*recent, *(each for each in held if each not in recent)]:
            sender.send_event(_encode(alert))

    async def _open_channel(self) -> None:
        if self._is_listening:
            return
        self._is_listening = True
        await self._pubsub.subscribe(keys.alerts_channel(), self._on_message)

    def unsubscribe(self, sid: str) -> None:
        """The socket is gone."""
        self._senders.pop(sid, None)

    def _on_message(self, message: bytes) -> None:
        alert = parse_alert(message)
        for held in self._pending.values():
            held.append(alert)
        packet = _encode(alert)
        for outlet in self._senders.values():
            outlet.send_event(packet)


def _encode(alert: Alert) -> bytes:
    return frames.encode_event("/ops", alert)
