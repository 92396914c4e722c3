"""Output of the demo: a status line every few seconds, and a summary at the end."""

from dataclasses import dataclass, field
from typing import Any

from city.actors.admin import TrialBalance
from city.model.counters import Counters

# Expected refusals: two riders accept one order, or a cancellation comes too late.
RACE_CODES = frozenset({"offer_taken", "offer_expired", "wrong_state", "not_found"})
SHOWN_IN_SUMMARY = (
    "shops_open",
    "orders_wanted",
    "orders_unserved",
    "top_ups",
    "orders_placed",
    "orders_food",
    "orders_mart",
    "orders_package",
    "orders_accepted",
    "riders_assigned",
    "orders_delivered",
    "orders_settled",
    "orders_cancelled",
    "orders_rejected",
    "no_riders",
)


@dataclass(slots=True)
class StatusLine:
    """Renders status lines; keeps the last counts to compute rates. Units: seconds."""

    counters: Counters
    last_s: float
    _last_fixes: int = 0
    _last_seen: int = 0

    def render(self, now_s: float, started_s: float) -> str:
        """The status line of this moment. Units: seconds of the steady clock."""
        counts = self.counters.counts
        elapsed_s = max(now_s - self.last_s, 0.001)
        fixes, seen = counts["fixes_sent"], counts["positions_seen"]
        text = (
            f"[{now_s - started_s:6.0f} s] "
            f"orders {counts['orders_placed']} placed, "
            f"{counts['deliveries_completed']} delivered, {counts['orders_settled']} settled, "
            f"{counts['orders_cancelled'] + counts['orders_rejected']} cancelled or rejected | "
            f"fixes {(fixes - self._last_fixes) / elapsed_s:.0f}/s, "
            f"{(seen - self._last_seen) / elapsed_s:.0f}/s shown to customers | "
            f"offers {counts['offers_received']}, {counts['offers_accepted']} accepted | "
            f"{self.counters.settled_xaf:,} XAF settled | "
            f"errors {self.counters.errors_total}"
        )
        self.last_s, self._last_fixes, self._last_seen = now_s, fixes, seen
        return text


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of one run of the city. Units: seconds."""

    counters: Counters
    elapsed_s: float
    stopped_s: float
    trial_balance: TrialBalance | None
    has_server_stopped_cleanly: bool
    failure: str | None = None
    crashes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the ledger balances, the server stopped cleanly and nothing failed."""
        is_balanced = self.trial_balance is not None and self.trial_balance.total == 0
        return is_balanced and self.has_server_stopped_cleanly and self.failure is None

    def as_json(self) -> dict[str, Any]:
        """The run as one JSON object. Units: seconds, milliseconds, whole XAF."""
        return {
            "ok": self.is_good,
            "elapsedSeconds": round(self.elapsed_s, 1),
            "stopSeconds": round(self.stopped_s, 2),
            "trialBalance": None
            if self.trial_balance is None
            else {
                "total": self.trial_balance.total,
                "accounts": self.trial_balance.accounts,
                "entries": self.trial_balance.entries,
            },
            "settledXaf": self.counters.settled_xaf,
            "serverStoppedWell": self.has_server_stopped_cleanly,
            "failure": self.failure,
            "counts": dict(sorted(self.counters.counts.items())),
            "errors": dict(sorted(self.counters.errors.items())),
            "durationsMs": self.counters.durations(),
        }

    def text(self) -> str:
        """The summary as text."""
        counts = self.counters.counts
        lines = [
            "",
            f"The city ran for {self.elapsed_s:.0f} s and stopped in {self.stopped_s:.1f} s.",
        ]
        lines += [f"  {name:<18}{counts[name]:>9,}" for name in SHOWN_IN_SUMMARY]
        others = sorted(name for name in counts if name not in SHOWN_IN_SUMMARY)
        lines.append("  other counts: " + ", ".join(f"{name} {counts[name]:,}" for name in others))
        for name, sample in self.counters.durations().items():
            percentiles = f"p50 {sample['p50']} ms, p99 {sample['p99']} ms"
            lines.append(f"  {name:<18}{sample['count']:>9,} times, {percentiles}")
        lines += self._error_lines()
        lines.append(f"  paid to vendors and riders: {self.counters.settled_xaf:,} XAF")
        lines.append(self._trial_balance_line())
        if not self.has_server_stopped_cleanly:
            lines.append("  the server did not stop in time, or ended with an error")
        if self.failure:
            lines.append(f"  failure: {self.failure}")
        return "\n".join(lines)

    def _error_lines(self) -> list[str]:
        def is_race(name: str) -> bool:
            return name.rpartition(":")[2] in RACE_CODES

        races = {name: n for name, n in self.counters.errors.items() if is_race(name)}
        faults = {name: n for name, n in self.counters.errors.items() if not is_race(name)}
        lines: list[str] = []
        for title, group in (("expected refusals", races), ("errors", faults)):
            listed = ", ".join(f"{name} {number}" for name, number in sorted(group.items()))
            lines.append(f"  {title}: {listed or 'none'}")
        return lines

    def _trial_balance_line(self) -> str:
        if self.trial_balance is None:
            return "  trial balance: could not be read"
        result = "balances" if self.trial_balance.total == 0 else "DOES NOT BALANCE"
        return (
            f"  trial balance: total {self.trial_balance.total} over "
            f"{self.trial_balance.accounts} accounts "
            f"and {self.trial_balance.entries:,} entries; the ledger {result}"
        )
