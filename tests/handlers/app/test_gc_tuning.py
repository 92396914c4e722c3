"""Garbage collection of a running server."""

import subprocess
import sys

from handlers.app.gc_tuning import GC_THRESHOLDS

SCRIPT = """
import gc
from handlers.app.gc_tuning import tune_gc
tune_gc()
print(gc.get_threshold(), gc.get_freeze_count() > 1000, len(gc.get_objects()) < 1000)
"""


def test_existing_objects_are_frozen_and_new_ones_rarely_collected():
    """In a process of its own, since it holds for a whole process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{GC_THRESHOLDS} True True"
