"""Listening TCP sockets, bound before any other part of the server is started."""

import socket

from dispatch.settings import Settings, SettingsError

# Units: connections the kernel completes before the server accepts them. Source: SECURITY.md, row
# 12 of the stock stack: with the default of 128 clients wait seconds for SYN retries when 1,000
# connect at once.
BACKLOG = 4096
# The kernel's send buffer of one connection. By default it grows to 4 MB, which hides for a long
# time that a client does not read. Source: measured; at a round trip of 100 ms it carries 1 MB/s.
SO_SNDBUF_BYTES = 64 * 1024


def listen(settings: Settings) -> socket.socket:
    """Bind HOST and PORT and listen, without accepting yet.

    Errors: SettingsError where the port is taken or the host is not an address of this machine.
    """
    return _bind(settings.host, settings.port, "")


def listen_for_metrics(settings: Settings) -> socket.socket | None:
    """Bind METRICS_HOST and METRICS_PORT; None where the port is 0.

    Errors: as `listen`.
    """
    if settings.metrics_port == 0:
        return None
    return _bind(settings.metrics_host, settings.metrics_port, " (METRICS_PORT; 0 is off)")


def _bind(host: str, port: int, hint: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(f"cannot listen at {host}:{port}: {error.strerror}{hint}") from error
    # Accepted connections inherit the option.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SO_SNDBUF_BYTES)
    return listener
