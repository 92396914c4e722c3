"""Account names: built by the chart, read back, and safe as parts of keys."""

import pytest

from ledger.core import accounts
from ledger.core.facts import TopUp, entry_key
from ledger.dynamodb.table import Key

BAD_IDS = ["", "a#b", "a.b", "a b", "é", "x" * 65, "a\n", "a/b", "a:b"]


@pytest.mark.parametrize("text", BAD_IDS)
def test_an_id_that_could_forge_a_key_is_refused(text: str) -> None:
    """An id with a separator, a newline, or a character outside the pattern is refused."""
    for build in (accounts.user, accounts.vendor, accounts.rider, accounts.escrow):
        with pytest.raises(ValueError, match="not an id"):
            build(text)
    with pytest.raises(ValueError, match="not an id"):
        accounts.clearing(text, 0)
    with pytest.raises(ValueError, match="not an id"):
        entry_key(TopUp("u", 1, "momo", text))


@pytest.mark.parametrize(
    ("account", "kind"),
    [
        (accounts.user("u-1"), "USER"),
        (accounts.rider_cash("r_1"), "RIDERCASH"),
        (accounts.escrow("o"), "ORDER"),
        (accounts.commission(7), "PLATFORM"),
        (accounts.clearing("mtn_momo", 3), "CLEARING"),
    ],
)
def test_the_kind_is_read_from_the_account_name(account: str, kind: str) -> None:
    """The kind of an account is read from the name that the chart builds."""
    assert accounts.kind_of(account) == kind


@pytest.mark.parametrize(
    "account", ["USER", "user#u", "USER#a#b", "BANK#1", "PLATFORM#COMMISSION", "CLEARING#x.1"]
)
def test_an_unknown_account_name_is_refused(account: str) -> None:
    """A wrong case, a missing shard, or another kind is refused."""
    with pytest.raises(ValueError, match=r"account|valid AccountKind"):
        accounts.kind_of(account)


def test_keys_of_an_account() -> None:
    """Balance and lines are in the wallet's partition, lines in the order of their numbers."""
    assert accounts.balance_key("USER#u") == Key("WALLET#USER#u", "BALANCE")
    first, later = accounts.line_key("USER#u", 2), accounts.line_key("USER#u", 10)
    assert first.pk == later.pk == "WALLET#USER#u"
    assert first.sk < later.sk
    assert first.sk.startswith(accounts.LINE_PREFIX)


def test_accounts_are_listed_over_all_shards() -> None:
    """A thousand accounts use every shard of the list, each always the same one."""
    keys = [accounts.listing_key(accounts.user(f"u{number}")) for number in range(1_000)]
    assert {key.pk for key in keys} == {f"ACCOUNTS#{n}" for n in range(accounts.LIST_SHARDS)}
    assert accounts.listing_key("USER#u7") == keys[7]


@pytest.mark.parametrize("owner_type", ["RIDERCASH", "PLATFORM", "user", "BANK"])
def test_only_customers_vendors_and_riders_own_wallets(owner_type: str) -> None:
    """Another kind of account, or an unknown one, has no owner."""
    with pytest.raises(ValueError, match=r"wallet|AccountKind"):
        accounts.owner(owner_type, "x")


def test_debts_are_accounts_of_their_owner() -> None:
    """A receivable names its owner and is an account of its own kind."""
    assert accounts.receivable("RIDER", "r1") == "RECEIVABLE#RIDER.r1"
    assert accounts.kind_of("RECEIVABLE#RIDER.r1") is accounts.AccountKind.RECEIVABLE
