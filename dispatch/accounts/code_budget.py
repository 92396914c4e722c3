"""Daily budget of sign-in codes: how many text messages all nodes together send in a day."""

from typing import NamedTuple

from dispatch import keys, metrics
from dispatch.clock import Clock
from dispatch.events.alerts import Alerts
from dispatch.storage.pipeline import Pipeline
from dispatch.wire.events import Alert

DAY_MS = 86_400_000
# The share of the budget at which operators are warned. Source: chosen; the rest is time to act.
WARN_AT = 0.8
# A counter is kept past its day, for operators who look at it the day after.
_TTL_MS = 2 * DAY_MS


class BudgetShare(NamedTuple):
    """Whether one more code may be sent; else the time until the next day. Units: ms."""

    is_granted: bool
    wait_ms: int


class CodeBudget:
    """Counts codes by UTC day; raises an alert when few are left, and when none is.

    Errors: StoreUnavailable where Redis cannot answer; then no code is sent.
    """

    def __init__(self, pipeline: Pipeline, alerts: Alerts, clock: Clock, per_day: int) -> None:
        self._pipeline = pipeline
        self._alerts = alerts
        self._clock = clock
        self._per_day = per_day

    async def take(self) -> BudgetShare:
        """Take one code from today's budget.

        Redis: INCR and PEXPIRE, one round trip; a repeat takes another. An alert is one more.
        """
        now_ms = self._clock.now_ms()
        key = keys.codes_sent(now_ms // DAY_MS)
        taken, _ = await self._pipeline.run([("INCR", key), ("PEXPIRE", key, _TTL_MS)])
        if taken > self._per_day:
            metrics.CODES.labels("over_budget").inc()
            await self._alert("code_budget_spent", "no more are sent", now_ms)
            return BudgetShare(is_granted=False, wait_ms=DAY_MS - now_ms % DAY_MS)
        if taken >= self._per_day * WARN_AT:
            await self._alert("code_budget_low", f"{taken} are sent", now_ms)
        return BudgetShare(is_granted=True, wait_ms=0)

    async def _alert(self, kind: str, state: str, now_ms: int) -> None:
        message = f"sign-in codes today: {state}, CODES_PER_DAY is {self._per_day}"
        await self._alerts.raise_alert(Alert(kind=kind, message=message, ts=now_ms), DAY_MS)
