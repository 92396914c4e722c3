"""The socket at which the server listens, taken before anything else is started."""

import socket

from dispatch.settings import Settings, SettingsError

# Source: reliability design, the kernel's 128 costs seconds of SYN retries at 1,000 connects.
BACKLOG = 4096
# What the kernel holds for a client that does not read; it would take 4 MB for each by itself, and
# nobody would notice that he is stuck. Source: measured; at 100 ms it still carries 1 MB/s.
SO_SNDBUF_BYTES = 64 * 1024


def listen(settings: Settings) -> socket.socket:
    """Take the port without serving it yet.

    Errors: SettingsError where another process has it or the host is not ours.
    """
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        address = (settings.host, settings.port)
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SettingsError(f"cannot listen at {where}: {error.strerror}") from error
    # Connections inherit it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SO_SNDBUF_BYTES)
    return listener
