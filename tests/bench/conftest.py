"""The tiny instance that tests of the replay share."""

from pathlib import Path

import pytest

from bench.mdrp.instances import Instance, read_instance
from tests.bench.mdrp.tiny import FILES, write_instance


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A folder with the tiny instance."""
    return write_instance(tmp_path, FILES)


@pytest.fixture
def tiny_instance(tiny_folder: Path) -> Instance:
    """The tiny instance."""
    return read_instance(tiny_folder)
