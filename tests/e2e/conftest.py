"""Fixtures of the end-to-end tests: real servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.local_server import STOP_TIMEOUT_S, LocalServer, start_server, stop_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One server for all tests of this worker."""
    started = start_server(tmp_path_factory.mktemp("server"))
    yield started
    stop_server(started)


@pytest.fixture
def restartable_server() -> Iterator[Callable[..., LocalServer]]:
    """Starts a server; given a running one, kills it first and restarts it at the same port."""
    servers: list[LocalServer] = []

    def start_or_replace(folder: Path, previous: LocalServer | None = None) -> LocalServer:
        if previous is None:
            servers.append(start_server(folder))
            return servers[-1]
        previous.process.kill()
        previous.process.wait(STOP_TIMEOUT_S)
        port = previous.url.rpartition(":")[2]
        servers.append(start_server(folder, PORT=port, JWT_SECRET=previous.secret))
        return servers[-1]

    yield start_or_replace
    stop_server(servers[-1])
