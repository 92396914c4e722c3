"""Randomness by name: the same seed and purpose give the same luck."""

from random import Random


def seeded_random(*purpose: str | int) -> Random:
    """Randomness of one purpose's own, so that one person's luck does not shift another's."""
    # Nothing secret hangs on it; it must repeat itself.
    return Random("/".join(map(str, purpose)))  # noqa: S311
