"""A thousand newcomers at once, while the server is busy with something else."""

import select
import signal
import socket
from time import monotonic

import pytest

from tests.e2e.conftest import RunningServer

CONNECTIONS = 1_000
# Source: RFC 6298 section 2, whoever finds no room tries again after a second.
CONNECT_S_MAX = 0.9


@pytest.mark.slow
def test_a_thousand_connects_fit_the_backlog(server: RunningServer):
    """The stock backlog of 128 made a thousand connects take seven seconds of tries (hole 12)."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    lines = [socket.socket() for _ in range(CONNECTIONS)]
    poll = select.epoll()
    # It takes nobody in meanwhile.
    server.process.send_signal(signal.SIGSTOP)
    try:
        for line in lines:
            line.setblocking(False)
            line.connect_ex((host, int(port)))
            poll.register(line, select.EPOLLOUT | select.EPOLLONESHOT)
        connected, until_s = 0, monotonic() + CONNECT_S_MAX
        while connected < CONNECTIONS and monotonic() < until_s:
            connected += len(poll.poll(until_s - monotonic()))
        assert connected == CONNECTIONS
    finally:
        server.process.send_signal(signal.SIGCONT)
        for line in lines:
            line.close()
        poll.close()
