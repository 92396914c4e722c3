"""Seeded randomness by purpose: the same seed and purpose give the same sequence."""

from random import Random


def seeded_random(*purpose: str | int) -> Random:
    """A generator for one purpose, so that draws of one actor do not change those of another."""
    # Not for secrets: it must be repeatable.
    return Random("/".join(map(str, purpose)))  # noqa: S311
