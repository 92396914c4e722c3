"""How long to wait before trying again, so that those who collided do not collide again."""

import secrets

# Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015: full jitter.
BASE_S = 0.02
MAX_S = 0.5

# Jitter needs no secrecy, but must differ between processes.
_random = secrets.SystemRandom()


def delay_s(failures: int) -> float:
    """A delay from nothing up to a bound that doubles with each failure in a row, from one on."""
    assert failures > 0
    # Beyond ten doublings the bound is long reached, and the power only grows.
    return _random.uniform(0, min(BASE_S * 2 ** min(failures - 1, 10), MAX_S))
