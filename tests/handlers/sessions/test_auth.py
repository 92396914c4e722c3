"""Which tokens let their bearer in, and as whom."""

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest

from dispatch.settings import Settings
from handlers.sessions.auth import (
    AUDIENCE_OF,
    TOKEN_TTL_S_MAX,
    Principal,
    RefreshClaims,
    TokenRefused,
    Tokens,
    UserType,
)

SECRET = "k" * 32
NOW_S = 1_763_000_000
NOW_MS = NOW_S * 1000
CLAIMS: dict[str, Any] = {
    "userId": "rdr_1",
    "userType": "RIDER",
    "iat": NOW_S,
    "exp": NOW_S + 3600,
}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(Settings(jwt_secret=SECRET))


def sign(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret, algorithm=algorithm)


def encode_part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def refusal_code(tokens: Tokens, token: object) -> str:
    with pytest.raises(TokenRefused) as refused:
        tokens.verify(token, NOW_MS)
    return refused.value.code


@pytest.mark.parametrize("user_type", list(AUDIENCE_OF))
def test_a_token_of_ours_is_believed(tokens: Tokens, user_type: UserType):
    """What `issue` writes, `verify` reads: who, of which audience, until when."""
    token = tokens.issue(user_type, "x_1", 60, NOW_MS)
    who = tokens.verify(token, NOW_MS)
    assert (who.user_type, who.id, who.audience) == (user_type, "x_1", AUDIENCE_OF[user_type])
    assert who.expires_at_ms == NOW_MS + 60_000
    assert who.identity == f"{AUDIENCE_OF[user_type]}:x_1"
    assert who.issued_at_ms == NOW_MS
    assert who.token_id.startswith("tok_")


def test_a_token_of_another_issuer_of_the_company_is_believed(tokens: Tokens):
    """A valid signature and the four claims are enough; no account is needed."""
    token = sign(CLAIMS)
    assert tokens.verify(token, NOW_MS) == Principal(
        user_type="RIDER",
        id="rdr_1",
        audience="rider",
        issued_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 3_600_000,
        # A token without a name of its own can still be recalled.
        token_id=f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
    )


@pytest.mark.parametrize("missing", [None, ""])
def test_no_token_is_named_as_such(tokens: Tokens, missing: object):
    """A client that sends nothing learns that a token is required, not that his is bad."""
    assert refusal_code(tokens, missing) == "token_required"


FORGED_CLAIMS: dict[str, dict[str, Any]] = {
    "an id with a separator": {"userId": "rdr:1"},
    "an id with a line end": {"userId": "rdr_1\n"},
    "an empty id": {"userId": ""},
    "an id that is a number": {"userId": 7},
    "an id that is a list": {"userId": ["rdr_1"]},
    "no id": {"userId": None},
    "an unknown kind of user": {"userType": "ROOT"},
    "a kind in lower case": {"userType": "rider"},
    "a kind that is an object": {"userType": {"$ne": ""}},
    "a kind that is a list": {"userType": ["RIDER"]},
    "a life of thirty-one days": {"exp": NOW_S + TOKEN_TTL_S_MAX + 86_400},
    "a life for ever": {"exp": 2**53},
    "an end that is a text": {"exp": "tomorrow"},
    "an end that is true": {"exp": True},
    "an end that is no number": {"exp": float("nan")},
    "an endless end": {"exp": float("inf")},
    "a huge end": {"exp": 10**400},
    "an end before all time": {"exp": -1},
    "no end": {"exp": None},
    "an issue in the future": {"iat": NOW_S + 3600},
    "no issue": {"iat": None},
    "an issue that is a text": {"iat": "now"},
    "a start in the future": {"nbf": NOW_S + 3600},
    "a start that is a text": {"nbf": "now"},
    "a name that is a list": {"jti": ["a"]},
}


@pytest.mark.parametrize("claims", FORGED_CLAIMS.values(), ids=FORGED_CLAIMS)
def test_a_well_signed_token_with_bad_claims_is_refused(tokens: Tokens, claims: dict[str, Any]):
    """The signature does not make up for claims outside of the contract."""
    assert refusal_code(tokens, sign({**CLAIMS, **claims})) == "token_invalid"


@pytest.mark.parametrize("claim", ["userId", "userType", "iat", "exp"])
def test_every_claim_of_the_contract_is_required(tokens: Tokens, claim: str):
    """The library would let a token without an end live for ever."""
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    assert refusal_code(tokens, sign(claims)) == "token_invalid"


BODY = encode_part(CLAIMS)
GOOD = sign(CLAIMS)
FORGED_TOKENS: dict[str, object] = {
    "another key": sign(CLAIMS, "z" * 32),
    "no algorithm": f"{encode_part({'alg': 'none', 'typ': 'JWT'})}.{BODY}.",
    "another algorithm": sign(CLAIMS, SECRET * 2, "HS512"),
    "an algorithm with other letters": (
        f"{encode_part({'alg': 'hs256'})}.{BODY}.{GOOD.split('.')[2]}"
    ),
    "an unknown critical header": f"{encode_part({'alg': 'HS256', 'crit': ['x']})}.{BODY}.AA",
    "a header that is a list": f"{encode_part([])}.{BODY}.AA",
    "a header nested a thousand deep": f"{encode_part('x').replace('=', '')}{'W' * 3000}.{BODY}.AA",
    "deep nesting": f"{base64.urlsafe_b64encode(b'[' * 2400).decode()}.{BODY}.AA",
    "no signature": GOOD.rpartition(".")[0],
    "an empty signature": f"{GOOD.rpartition('.')[0]}.",
    "a body of another token": (
        f"{GOOD.split('.')[0]}.{encode_part({**CLAIMS, 'userId': 'usr_9'})}.x"
    ),
    "a body that is a text": sign(CLAIMS).split(".")[0] + f".{encode_part('claims')}.AA",
    "two dots too many": f"{GOOD}.{GOOD}",
    "not base64": "ä.ö.ü",
    "not a token": "hello",
    "white space": " ",
    "a token of four kilobytes": GOOD + "A" * 4096,
    "bytes": GOOD.encode(),
    "a number": 7,
    "a list": [GOOD],
    "true": True,
}


@pytest.mark.parametrize("token", FORGED_TOKENS.values(), ids=FORGED_TOKENS)
def test_a_forged_token_is_refused(tokens: Tokens, token: object):
    """Whatever is not a token signed with our key and our one algorithm stays outside."""
    assert refusal_code(tokens, token) == "token_invalid"


def test_an_expired_token_is_named_as_such(tokens: Tokens):
    """The app fetches a new token when it hears `token_expired`; so the code must be true."""
    token = tokens.issue("USER", "usr_1", 60, NOW_MS - 60_000)
    assert refusal_code(tokens, token) == "token_expired"


def test_expiry_has_no_leeway(tokens: Tokens):
    """A token lives to the millisecond before its end; a socket must not outlive it."""
    token = tokens.issue("USER", "usr_1", 60, NOW_MS)
    assert tokens.verify(token, NOW_MS + 59_999).id == "usr_1"
    with pytest.raises(TokenRefused, match="expired"):
        tokens.verify(token, NOW_MS + 60_000)


def test_an_issuer_may_be_half_a_minute_ahead(tokens: Tokens):
    """Clocks of two machines differ; a token from the near future is no forgery."""
    assert tokens.verify(sign({**CLAIMS, "iat": NOW_S + 29}), NOW_MS).id == "rdr_1"


@pytest.mark.parametrize(
    ("claims", "is_good"),
    [
        ({"iss": "reeyo", "aud": "dispatch"}, True),
        ({"iss": "other", "aud": "dispatch"}, False),
        ({"iss": "reeyo", "aud": "billing"}, False),
        ({"iss": "reeyo"}, False),
        ({"aud": "dispatch"}, False),
        ({}, False),
    ],
)
def test_issuer_and_audience_count_where_they_are_configured(claims: dict[str, str], is_good: bool):
    """A company that signs tokens for several services keeps them apart."""
    tokens = Tokens(Settings(jwt_secret=SECRET, jwt_issuer="reeyo", jwt_audience="dispatch"))
    assert [is_accepted(tokens, {**CLAIMS, **claims})] == [is_good]
    assert tokens.verify(tokens.issue("USER", "usr_1", 9, NOW_MS), NOW_MS).id == "usr_1"


def is_accepted(tokens: Tokens, claims: dict[str, Any]) -> bool:
    try:
        return tokens.verify(sign(claims), NOW_MS).id == "rdr_1"
    except TokenRefused:
        return False


# Several keys.

OLD, NEW = "o" * 32, "n" * 32


def sign_with_key_id(secret: str, key_id: object) -> str:
    return jwt.encode(CLAIMS, secret, headers={"kid": key_id})


def accepts(settings: Settings, token: str) -> bool:
    try:
        return Tokens(settings).verify(token, NOW_MS).id == "rdr_1"
    except TokenRefused:
        return False


def test_keys_change_and_nobody_is_turned_away():
    """Two keys live while a rotation runs; when it is over the old one opens nothing more."""
    without, old, new = (
        sign(CLAIMS, OLD),
        sign_with_key_id(OLD, "2026a"),
        sign_with_key_id(NEW, "2026b"),
    )
    before = Settings(jwt_secret=OLD)
    during = Settings(jwt_secret=OLD, jwt_keys=(f"2026b:{NEW}", f"2026a:{OLD}"))
    after = Settings(jwt_keys=(f"2026b:{NEW}",))

    opened = [[accepts(each, t) for t in (without, old, new)] for each in (before, during, after)]
    assert opened == [[True, True, False], [True, True, True], [False, False, True]]


def test_the_first_key_signs():
    """What we issue names its key, and every server that has the key believes it."""
    during = Settings(jwt_secret=OLD, jwt_keys=(f"2026b:{NEW}", f"2026a:{OLD}"))
    token = Tokens(during).issue("RIDER", "rdr_1", 60, NOW_MS)
    assert jwt.get_unverified_header(token)["kid"] == "2026b"
    assert accepts(Settings(jwt_keys=(f"2026b:{NEW}",)), token)


FORGED_KEYS: dict[str, tuple[str, object]] = {
    "a key of another name": (NEW, "2026a"),
    "a name that nobody has": (NEW, "2027"),
    "an empty name": (NEW, ""),
    "the key without a name under a name": (SECRET, "2026a"),
    "a path": (NEW, "../../dev/null"),
    "a name with the key behind it": (NEW, f"2026b:{NEW}"),
}


@pytest.mark.parametrize(("secret", "key_id"), FORGED_KEYS.values(), ids=FORGED_KEYS)
def test_a_token_is_checked_with_the_key_it_names(secret: str, key_id: object):
    """A key opens what names it, and a name opens nothing without its key."""
    ours = Settings(jwt_secret=SECRET, jwt_keys=(f"2026b:{NEW}", f"2026a:{OLD}"))
    assert refusal_code(Tokens(ours), sign_with_key_id(secret, key_id)) == "token_invalid"


@pytest.mark.parametrize("key_id", [["2026b"], {"2026b": 1}, 7, True])
def test_the_name_of_a_key_is_a_text(key_id: object):
    """A header may be of any JSON type, also one that cannot be looked up."""
    header = encode_part({"alg": "HS256", "typ": "JWT", "kid": key_id})
    ours = Settings(jwt_keys=(f"2026b:{NEW}",))
    assert refusal_code(Tokens(ours), f"{header}.{BODY}.AA") == "token_invalid"


def test_forty_kinds_of_forgery_and_more():
    """The promise names forty; the tables above have them, each as a test of its own."""
    tables = (FORGED_CLAIMS, FORGED_TOKENS, FORGED_KEYS)
    assert sum(len(table) for table in tables) >= 40


# Recalled before their end.


def test_a_recalled_token_is_no_token():
    """Its bearer is told what a forger is told, and others come in as before."""
    tokens = Tokens(Settings(jwt_secret=SECRET), lambda who: who.id == "rdr_1")
    assert refusal_code(tokens, GOOD) == "token_invalid"
    assert tokens.verify(sign({**CLAIMS, "userId": "rdr_2"}), NOW_MS).id == "rdr_2"
    assert tokens.read(GOOD, NOW_MS).id == "rdr_1"


def test_expiry_is_told_of_a_token_that_is_otherwise_good():
    """A recalled one that has also expired is simply expired: nothing is left to recall."""
    tokens = Tokens(Settings(jwt_secret=SECRET), lambda _who: True)
    assert refusal_code(tokens, sign({**CLAIMS, "exp": NOW_S - 1})) == "token_expired"


def test_a_signature_is_looked_at_once(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    """An app that asks again costs a look; its time and its recall are asked for each time."""
    token = sign(CLAIMS)
    who = tokens.verify(token, NOW_MS)
    monkeypatch.setattr("handlers.sessions.auth.jwt.decode", None)
    assert tokens.verify(token, NOW_MS + 1_000) == who
    with pytest.raises(TokenRefused, match="expired"):
        tokens.verify(token, NOW_MS + 3_600_000)
    recalled = Tokens(Settings(jwt_secret=SECRET), lambda _who: True)
    recalled._verified_claims = tokens._verified_claims
    assert refusal_code(recalled, token) == "token_invalid"


def test_forged_tokens_are_never_known(tokens: Tokens):
    """Nor is a refresh token taken for the other because it came before."""
    forged = sign(CLAIMS, "x" * 32)
    refresh = tokens.issue_pair("RIDER", "rdr_1", RefreshClaims("sin_1", 1), NOW_MS).refresh
    assert tokens.read_refresh(refresh, NOW_MS).sign_in == "sin_1"
    assert [refusal_code(tokens, token) for token in (forged, refresh) * 2] == ["token_invalid"] * 4


def test_known_tokens_are_bounded(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    """The one that came longest ago is looked at again."""
    monkeypatch.setattr("handlers.sessions.auth.VERIFIED_TOKENS_MAX", 2)
    first, second, third = (sign({**CLAIMS, "userId": f"rdr_{n}"}) for n in range(3))
    for token in (first, second, first, third):
        tokens.verify(token, NOW_MS)
    assert list(tokens._verified_claims) == [first, third]
