"""Access tokens of the simulated people."""

import jwt
import pytest

from city.client.tokens import TOKEN_LIFETIME_S, TokenSigner, make_token_signer

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


def test_without_a_secret_each_signer_has_a_random_one():
    """Without JWT_SECRET every signer has its own secret, long enough for HS256."""
    secrets = {make_token_signer({}, lambda: 0).secret for _ in range(2)}
    assert len(secrets) == 2
    assert min(map(len, secrets)) >= 32


def test_a_signer_follows_the_environment():
    """Secret, issuer and audience are those of the environment."""
    environ = {"JWT_SECRET": SECRET, "JWT_ISSUER": "me", "JWT_AUDIENCE": "apps"}
    signer = make_token_signer(environ, lambda: 0)
    assert (signer.secret, signer.issuer, signer.audience) == (SECRET, "me", "apps")
