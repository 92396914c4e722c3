"""The listening socket: where it listens, what connections inherit, and when it is refused."""

import socket

import pytest

from dispatch.settings import SettingsError
from handlers.transport.listener import SO_SNDBUF_BYTES, listen
from tests.handlers.socket_edge import settings


def test_it_accepts_connections_with_a_bounded_send_buffer():
    """A client connects; the kernel's send buffer of its connection is bounded.

    Source: socket(7): Linux doubles the value for its own bookkeeping.
    """
    with (
        listen(settings(host="127.0.0.1", port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert size in (SO_SNDBUF_BYTES, 2 * SO_SNDBUF_BYTES)


def test_an_ipv6_host_is_served():
    """A host with colons is an IPv6 address."""
    with listen(settings(host="::1", port=0)) as listener:
        assert listener.family == socket.AF_INET6


def test_a_taken_port_is_a_settings_error():
    """The message names host and port."""
    with listen(settings(host="127.0.0.1", port=0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
            listen(settings(host="127.0.0.1", port=port))


def test_a_foreign_host_is_a_settings_error():
    """An address that this machine does not have cannot be bound. Source: RFC 5737, TEST-NET-1."""
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        listen(settings(host="192.0.2.1", port=0))
