"""Odd phones of the simulated riders: wrong clocks, coarse, repeated or kept fixes, no position."""

import random
from typing import Any

# Shares of the phones; runs are small, so that they are far more frequent than in a city.
KINDS = {
    "plain": 8, "coarse": 2, "indoors": 3, "clock": 3, "repeats": 2, "tunnel": 2, "sentinels": 1,
}  # fmt: skip
HOUR_MS = 3_600_000
COARSE_M, UNUSABLE_M = 65.0, 9_000.0
# How many fixes a phone keeps in a tunnel.
TUNNEL_FIXES = 8

Packet = tuple[str, dict[str, Any]]


class Phone:
    """Turns true fixes into what one phone sends."""

    def __init__(self, rng: random.Random, kind: str | None = None) -> None:
        self.kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
        self._rng = rng
        self._offset_ms = 0
        self._last: dict[str, Any] = {}
        self._kept: list[dict[str, Any]] = []
        self._is_in_tunnel = False

    @property
    def loses_position_at_work(self) -> bool:
        """Whether it cannot be placed while its rider fetches an order."""
        return self.kind == "indoors"

    def packets(self, fix: dict[str, Any], *, is_at_work: bool) -> list[Packet]:
        """The packets of one true fix, none in a tunnel."""
        if self.kind == "tunnel":
            return self._pass_tunnel(fix)
        return [("location_update", self._distort(fix, is_at_work=is_at_work))]

    def _distort(self, fix: dict[str, Any], *, is_at_work: bool) -> dict[str, Any]:
        rng = self._rng
        if self.kind == "coarse":
            return {**fix, "accuracy": COARSE_M}
        if self.kind == "indoors" and is_at_work:
            return {**fix, "accuracy": UNUSABLE_M}
        if self.kind == "clock":
            if rng.random() < 0.1:
                self._offset_ms = rng.choice([0, -HOUR_MS, HOUR_MS, -400 * 24 * HOUR_MS])
            return {**fix, "ts": fix["ts"] + self._offset_ms}
        if self.kind == "repeats":
            if not self._last or rng.random() < 0.3:
                self._last = fix
            return self._last
        if self.kind == "sentinels" and rng.random() < 0.3:
            return {**fix, "lat": 0.0, "lng": 0.0}
        return fix

    def _pass_tunnel(self, fix: dict[str, Any]) -> list[Packet]:
        if not self._is_in_tunnel and self._rng.random() < 0.9:
            return [("location_update", fix)]
        self._is_in_tunnel = True
        self._kept.append(fix)
        if len(self._kept) < TUNNEL_FIXES:
            return []
        kept, self._kept, self._is_in_tunnel = self._kept, [], False
        if self._rng.random() < 0.5:
            return [("location_batch", {"fixes": kept})]
        return [("location_update", each) for each in kept]
