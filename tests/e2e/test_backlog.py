"""Tests of the listen backlog: a thousand connects while the server is stopped."""

import select
import signal
import socket
from time import monotonic

import pytest

from tests.e2e.local_server import LocalServer

CONNECTIONS = 1_000
# Source: RFC 6298 section 2, a client that gets no answer to its SYN retries after a second.
CONNECT_S_MAX = 0.9


@pytest.mark.slow
def test_a_thousand_connects_fit_the_backlog(server: LocalServer):
    """A thousand connects complete at once while the server accepts none.

    With the default backlog of 128 they took seven seconds of retries.
    """
    host, _, port = server.url.removeprefix("http://").partition(":")
    sockets = [socket.socket() for _ in range(CONNECTIONS)]
    poll = select.epoll()
    # The stopped server accepts nothing.
    server.process.send_signal(signal.SIGSTOP)
    try:
        for client in sockets:
            client.setblocking(False)
            client.connect_ex((host, int(port)))
            poll.register(client, select.EPOLLOUT | select.EPOLLONESHOT)
        connected, until_s = 0, monotonic() + CONNECT_S_MAX
        while connected < CONNECTIONS and monotonic() < until_s:
            connected += len(poll.poll(until_s - monotonic()))
        assert connected == CONNECTIONS
    finally:
        server.process.send_signal(signal.SIGCONT)
        for client in sockets:
            client.close()
        poll.close()
