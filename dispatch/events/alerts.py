"""Alerts to operators: published once per interval, and the last ones stored."""

from collections.abc import Awaitable, Callable

import msgspec

from dispatch import keys, metrics
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from dispatch.wire.events import Alert

# What an operator who signs in later is shown. Source: chosen.
ALERTS_MAX = 50
ALERTS_TTL_MS = 24 * 3600_000

# Raises an alert for operators, unless the same was raised within this many milliseconds.
AlertRaiser = Callable[[Alert, int], Awaitable[bool]]

_decoder = msgspec.json.Decoder(Alert)


class Alerts:
    """Raises and reads alerts.

    Errors: every method raises StoreUnavailable where Redis cannot answer.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._scripts = scripts

    async def raise_alert(self, alert: Alert, every_ms: int, subject: str | None = None) -> bool:
        """Publish and store an alert, unless the same was raised in the last `every_ms`.

        The same is one of the same kind about the same subject, which is the alert's order, payout
        or rider unless it is given. Returns whether it was raised.
        Redis: one script, one round trip; atomic. A repeated call raises it once.
        """
        subject = subject or alert.order_id or alert.payout_id or alert.rider_id or "-"
        script_keys = (keys.alert_raised(alert.kind, subject), keys.alerts())
        text = msgspec.json.encode(alert)
        arguments = (text, every_ms, ALERTS_MAX, ALERTS_TTL_MS, keys.alerts_channel(), alert.ts)
        is_new = bool(await self._scripts.run("alert_raise", script_keys, arguments))
        if is_new:
            metrics.ALERTS.labels(alert.kind).inc()
        return is_new

    async def recent(self) -> list[Alert]:
        """The last alerts, oldest first.

        Redis: LRANGE, one round trip.
        """
        with translate_redis_errors():
            rows = await self._redis.lrange(keys.alerts(), 0, ALERTS_MAX - 1)
        return [_decoder.decode(row) for row in reversed(rows)]


def parse_alert(message: bytes) -> Alert:
    """An alert from a message of the alerts' channel."""
    return _decoder.decode(message)
