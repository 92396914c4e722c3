"""How likely a rider says yes, learned from his answers; never quite certain either way."""

# What is believed of a rider whom nobody has asked yet, as if he had answered so often.
# Source: own choice; after twenty answers his own word counts twice as much as the belief.
PRIOR_ACCEPTED, PRIOR_DECLINED = 9.5, 0.5
# Nobody is written off, and nobody is taken for granted.
CHANCE_MIN, CHANCE_MAX = 0.3, 0.99
# Older answers fade: each new one takes this much of the weight of all before it.
# Source: own choice; what he said fifty answers ago counts a third.
ANSWER_DECAY = 0.98


class AnswerHistory:
    """Riders' answers to offers."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[float, float]] = {}

    def record_answer(self, rider: int, *, accepted: bool) -> None:
        """A rider has answered."""
        yes, no = self._counts.get(rider, (0.0, 0.0))
        self._counts[rider] = (yes * ANSWER_DECAY + accepted, no * ANSWER_DECAY + (not accepted))

    def acceptance_chance(self, rider: int) -> float:
        """How likely he says yes to the next offer."""
        yes, no = self._counts.get(rider, (0.0, 0.0))
        return acceptance_chance(yes, yes + no)


def acceptance_chance(accepted: float, answers: float) -> float:
    """How likely somebody says yes who has said it so often in so many answers."""
    chance = (accepted + PRIOR_ACCEPTED) / (answers + PRIOR_ACCEPTED + PRIOR_DECLINED)
    return min(CHANCE_MAX, max(CHANCE_MIN, chance))
