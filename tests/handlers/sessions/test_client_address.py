"""Whose address counts when a request comes through proxies."""

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
def test_the_nearest_machine_that_is_not_ours(remote: str, forwarded: tuple[str, ...], client: str):
    """Our proxies are looked through, however many there are."""
    assert address(remote, *forwarded) == client


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        # Whoever connects directly is not believed about others.
        ("203.0.113.5", ("198.51.100.1",), "203.0.113.5"),
        ("192.0.2.2", ("198.51.100.1",), "192.0.2.2"),
        # What a client wrote itself stands left of what our proxy saw.
        ("10.0.0.1", ("198.51.100.1, 203.0.113.5",), "203.0.113.5"),
        ("10.0.0.1", ("10.0.0.7, 203.0.113.5",), "203.0.113.5"),
        # Nonsense names nobody.
        ("10.0.0.1", ("unknown",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5, ",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5:8080",), "10.0.0.1"),
        ("10.0.0.1", ("203.0.113.5, <script>, 10.0.0.2",), "10.0.0.2"),
        ("", ("203.0.113.5",), ""),
    ],
)
def test_a_client_cannot_choose_its_address(remote: str, forwarded: tuple[str, ...], client: str):
    """The stock stack believes the header of anybody, or nobody at all."""
    assert address(remote, *forwarded) == client


def test_without_proxies_the_header_says_nothing():
    """The default: whoever connects is the client."""
    assert address("127.0.0.1", "203.0.113.5", settings=Settings()) == "127.0.0.1"


def test_proxies_are_networks():
    """A typing error would otherwise trust nobody, or everybody."""
    environ = {"JWT_SECRET": "s" * 32, "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1"}
    assert settings.read(environ).trusted_proxies == ("10.0.0.0/8", "192.0.2.1")
    for wrong in ("10.0.0.1/8", "proxy.example"):
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
            settings.read({**environ, "TRUSTED_PROXIES": wrong})
