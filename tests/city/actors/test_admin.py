"""The operator of the simulated city on a fake server."""

from city.actors.admin import READS_MAX, TrialBalance, make_admin
from city.actors.city import City
from tests.city.fake_server import FakeServer


async def test_the_operator_enables_mart_and_packages(city: City, fake_server: FakeServer):
    """`open_services` enables the services that are off by default."""
    await make_admin(city).open_services()
    assert fake_server.services == {"FOOD", "MART", "PACKAGE"}


async def test_the_trial_balance_is_read_once_where_it_is_zero(city: City):
    """A ledger that balances is read once."""
    assert await make_admin(city).read_trial_balance() == TrialBalance(0, 0, 0)
    assert city.counters.durations()["http_get"]["count"] == 1


async def test_an_unbalanced_ledger_is_read_again(city: City, fake_server: FakeServer):
    """A sum that is not zero is read READS_MAX times, and returned as it is."""
    fake_server.trial_balance_total = 5
    assert (await make_admin(city).read_trial_balance()).total == 5
    assert city.counters.durations()["http_get"]["count"] == READS_MAX
