"""How likely a rider accepts an offer, estimated from earlier answers and bounded on both sides."""

# A rider without answers counts as if there were these ten, so that one answer decides little.
# Source: chosen; after twenty answers they weigh twice as much as this prior.
PRIOR_ACCEPTED, PRIOR_DECLINED = 9.5, 0.5
# No rider is excluded for declining, and no acceptance is taken as certain.
CHANCE_MIN, CHANCE_MAX = 0.3, 0.99
# Each new answer multiplies the weight of all earlier ones by this factor.
# Source: chosen; an answer fifty answers ago counts a third.
ANSWER_DECAY = 0.98


def acceptance_chance(accepted: float, answers: float) -> float:
    """The chance that a rider accepts the next offer.

    Units: faded counts of accepted offers and of all answers in; a probability out, between
    CHANCE_MIN and CHANCE_MAX.
    """
    chance = (accepted + PRIOR_ACCEPTED) / (answers + PRIOR_ACCEPTED + PRIOR_DECLINED)
    return min(CHANCE_MAX, max(CHANCE_MIN, chance))
