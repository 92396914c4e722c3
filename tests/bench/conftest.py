"""Tiny cities of the tests' own, written as the public instances are."""

from pathlib import Path

import pytest


@pytest.fixture
def instance_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The module's city, `FILES`, in a folder that is named "tiny"."""
    city = tmp_path / "tiny"
    city.mkdir()
    files: dict[str, str] = request.module.FILES
    for name, text in files.items():
        (city / name).write_text(text)
    return city
