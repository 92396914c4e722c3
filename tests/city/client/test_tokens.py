"""Access tokens of the simulated people."""

from pathlib import Path

import jwt
import pytest

from city.client.tokens import TOKEN_LIFETIME_S, NoSecret, TokenSigner, make_token_signer

SECRET = "s" * 32


@pytest.mark.parametrize(
    ("signer", "more"),
    [
        (TokenSigner(SECRET, lambda: 5_999), {}),
        (TokenSigner(SECRET, lambda: 5_999, "me", "apps"), {"iss": "me", "aud": "apps"}),
    ],
)
def test_a_token_has_the_contracts_claims(signer: TokenSigner, more: dict[str, str]):
    """A token has the user, its type and its lifetime; issuer and audience only where set."""
    claims = jwt.decode(
        signer.sign("RIDER", "rdr_1"), SECRET, algorithms=["HS256"],
        options={"verify_exp": False, "verify_aud": False},
    )  # fmt: skip
    expected = {"userId": "rdr_1", "userType": "RIDER", "iat": 5, "exp": 5 + TOKEN_LIFETIME_S}
    assert claims == expected | more


def test_without_a_secret_the_dev_servers_is_used(tmp_path: Path):
    """Without JWT_SECRET the signer has the secret that a --dev server keeps in its folder."""
    (tmp_path / "dev-secret").write_text(SECRET)
    assert make_token_signer({"DATA_DIR": str(tmp_path)}, lambda: 0).secret == SECRET


def test_a_missing_secret_says_what_to_set(tmp_path: Path):
    """A folder without a secret is named, with what to set instead."""
    with pytest.raises(NoSecret, match=f"set JWT_SECRET .*{tmp_path}/dev-secret"):
        make_token_signer({"DATA_DIR": str(tmp_path)}, lambda: 0)


def test_a_signer_follows_the_environment():
    """Secret, issuer and audience are those of the environment."""
    environ = {"JWT_SECRET": SECRET, "JWT_ISSUER": "me", "JWT_AUDIENCE": "apps"}
    signer = make_token_signer(environ, lambda: 0)
    assert (signer.secret, signer.issuer, signer.audience) == (SECRET, "me", "apps")
