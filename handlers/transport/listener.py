"""Listening TCP socket, bound before any other part of the server is started."""

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
    """Bind the port and listen, without accepting yet.

    Errors: SettingsError where the port is taken or the host is not an address of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        address = (settings.host, settings.port)
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SettingsError(f"cannot listen at {where}: {error.strerror}") from error
    # Accepted connections inherit the option.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SO_SNDBUF_BYTES)
    return listener
