"""Couriers' answers to offers: which are declined, and the acceptance chance learned from them."""

import hashlib

from bench.mdrp.instances import Instance
from matching.acceptance import ANSWER_DECAY, acceptance_chance


def is_declined(instance: Instance, share: float, seed: int, courier: int, order: int) -> bool:
    """Whether a courier declines an order; the same for the same seed and pair, by a hash.

    `share` is the part of all pairs that is declined.
    """
    text = f"{seed} {instance.couriers[courier].name} {instance.orders[order].name}"
    draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    return draw < share


class AnswerHistory:
    """Faded counts of each rider's answers to offers."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, float]] = {}

    def record_answer(self, rider: int, *, accepted: bool) -> None:
        """Add one answer of a rider."""
        yes, no = self._counts.get(rider, (0.0, 0.0))
        self._counts[rider] = (yes * ANSWER_DECAY + accepted, no * ANSWER_DECAY + (not accepted))

    def acceptance_chance(self, rider: int) -> float:
        """The chance that a rider accepts the next offer."""
        yes, no = self._counts.get(rider, (0.0, 0.0))
        return acceptance_chance(yes, yes + no)
