"""Loopback: whether a host's name or address is of this machine."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Whether a host is `localhost` or a loopback address, also one that IPv6 maps."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address((host or "").strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
