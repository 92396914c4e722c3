"""How seldom the collector of rings looks, on a server that makes few of them."""

import gc

# Source: performance design, with the default thresholds a fix costs twice as much at 10,000
# sockets; the objects of a running server rarely form cycles.
GC_THRESHOLDS = (200_000, 50, 1_000)


def tune_gc() -> None:
    """Pass over what is there now for ever, and look seldom at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
