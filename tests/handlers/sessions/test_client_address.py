"""Client addresses of requests that come through reverse proxies."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from dispatch import settings
from dispatch.settings import Settings, SettingsError
from handlers.sessions.client_address import TrustedProxies

SETTINGS = Settings(trusted_proxies=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"))


def address(remote: str, *forwarded: str, settings: Settings = SETTINGS) -> str:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
    return TrustedProxies(settings).client_address(request)


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("203.0.113.5", (), "203.0.113.5"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5",), "203.0.113.5"),
        ("10.0.0.1", (" 203.0.113.5 , 10.0.0.2",), "203.0.113.5"),
        ("10.0.0.1", ("203.0.113.5", "10.0.0.2"), "203.0.113.5"),
        ("192.0.2.1", ("2001:db9::7",), "2001:db9::7"),
        ("::ffff:10.0.0.1", ("203.0.113.5",), "203.0.113.5"),
        ("10.0.0.1", ("10.0.0.9, 10.0.0.2",), "10.0.0.9"),
    ],
)
def test_the_client_is_the_nearest_untrusted_hop(
    remote: str, forwarded: tuple[str, ...], client: str
):
    """Trusted proxies are skipped, however many there are."""
    assert address(remote, *forwarded) == client


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        # A client that connects directly cannot name another address.
        ("203.0.113.5", ("198.51.100.1",), "203.0.113.5"),
        ("192.0.2.2", ("198.51.100.1",), "192.0.2.2"),
        # A client's own entry is left of what the trusted proxy appended.
        ("10.0.0.1", ("198.51.100.1, 203.0.113.5",), "203.0.113.5"),
        ("10.0.0.1", ("10.0.0.7, 203.0.113.5",), "203.0.113.5"),
        # An entry that is no address ends the search.
        ("10.0.0.1", ("unknown",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5, ",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5:8080",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5, <script>, 10.0.0.2",), "10.0.0.2"),
        ("", ("203.0.113.5",), ""),
    ],
)
def test_a_client_cannot_choose_its_address(remote: str, forwarded: tuple[str, ...], client: str):
    """Hops that no trusted proxy wrote are ignored."""
    assert address(remote, *forwarded) == client


def test_without_trusted_proxies_the_header_is_ignored():
    """By default the peer is the client."""
    assert address("127.0.0.1", "203.0.113.5", settings=Settings()) == "127.0.0.1"


def test_trusted_proxies_are_read_as_networks():
    """The setting takes networks and addresses, and refuses host bits and names."""
    environ = {"JWT_SECRET": "s" * 32, "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1"}
    assert settings.read(environ).trusted_proxies == ("10.0.0.0/8", "192.0.2.1")
    for wrong in ("10.0.0.1/8", "proxy.example"):
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
            settings.read({**environ, "TRUSTED_PROXIES": wrong})
