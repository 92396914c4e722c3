"""Orders go on while Redis is away, and everything arrives when it is back."""

import pytest

from tests.e2e.redis_away import Size, is_good, measure


@pytest.mark.slow
@pytest.mark.parametrize("is_flushed", [False, True])
async def test_nothing_is_lost_while_redis_is_away(tmp_path, is_flushed):
    """Three seconds without Redis: every event arrives once, in order; positions never stop."""
    figures = await measure(Size(3.0, 8, is_flushed), 1, tmp_path)

    # Other tests run beside this one on the same cores; the command alone holds the promise itself.
    assert is_good(figures, slack=2.5), figures
