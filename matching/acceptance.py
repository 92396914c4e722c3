"""How likely a rider says yes, learned from his answers; never quite certain either way."""

# What is believed of a rider whom nobody has asked yet, as if he had answered so often.
# Source: own choice; after twenty answers his own word counts twice as much as the belief.
YES_BEFORE, NO_BEFORE = 9.5, 0.5
# Nobody is written off, and nobody is taken for granted.
CHANCE_MIN, CHANCE_MAX = 0.3, 0.99
# Older answers fade: each new one takes this much of the weight of all before it.
# Source: own choice; what he said fifty answers ago counts a third.
FADE = 0.98


class Answers:
    """Riders' answers to offers."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[float, float]] = {}

    def note(self, rider: int, *, accepted: bool) -> None:
        """A rider has answered."""
        yes, no = self._said.get(rider, (0.0, 0.0))
        self._said[rider] = (yes * FADE + accepted, no * FADE + (not accepted))

    def chance(self, rider: int) -> float:
        """How likely he says yes to the next offer."""
        yes, no = self._said.get(rider, (0.0, 0.0))
        return chance_of(yes, yes + no)


def chance_of(yes: float, answers: float) -> float:
    """How likely somebody says yes who has said it so often in so many answers."""
    chance = (yes + YES_BEFORE) / (answers + YES_BEFORE + NO_BEFORE)
    return min(CHANCE_MAX, max(CHANCE_MIN, chance))
