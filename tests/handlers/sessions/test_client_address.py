"""Client addresses of requests that come through reverse proxies."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from structlog.testing import capture_logs

from dispatch import metrics, settings
from dispatch.clock import ManualClock
from dispatch.settings import Settings, SettingsError
from handlers.sessions.client_address import WARNING_EVERY_S, TrustedProxies, network_of
from tests.metric_values import metric_value

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


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002:0:0:0:9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_clients_share_the_limits_of_their_network(client: str, network: str):
    """An IPv4 address counts by itself, also a mapped one; all of an IPv6 /64 count as one."""
    assert network_of(client) == network


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
@pytest.mark.parametrize(("remote", "peer"), [("10.9.0.1", "private"), ("41.202.207.9", "public")])
@pytest.mark.parametrize("trusted", [(), ("192.0.2.1",)])
def test_an_untrusted_proxy_is_reported(
    header: str, remote: str, peer: str, trusted: tuple[str, ...]
):
    """Each request is counted, one line in ten minutes is logged, without any address."""
    clock = ManualClock()
    proxies = TrustedProxies(Settings(trusted_proxies=trusted), clock)
    headers = CIMultiDict({header: "203.0.113.5"})
    before = metric_value(metrics.FORWARDED_IGNORED.labels(peer))
    with capture_logs() as logged:
        for _ in range(3):
            assert proxies.resolve_address(remote, headers) == remote
        clock.advance(int(WARNING_EVERY_S * 1000))
        proxies.resolve_address(remote, headers)
    assert [line["event"] for line in logged] == ["forwarded_address_ignored"] * 2
    assert [line["peer"] for line in logged] == [peer] * 2
    assert remote not in str(logged)
    assert "203.0.113.5" not in str(logged)
    assert metric_value(metrics.FORWARDED_IGNORED.labels(peer)) - before == 4


def test_a_trusted_proxy_and_a_plain_client_are_not_reported():
    """Neither a header of a trusted peer nor a request without one."""
    with capture_logs() as logged:
        address("10.0.0.1", "203.0.113.5")
        address("203.0.113.5")
    assert logged == []
