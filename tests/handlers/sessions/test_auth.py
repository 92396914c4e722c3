"""Authentication: which tokens are accepted, and as which principal."""

import base64
import hashlib
import hmac
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
def test_an_issued_token_verifies(tokens: Tokens, user_type: UserType):
    """A token written by `issue` is read by `verify` with its user type, id, audience and times."""
    token = tokens.issue(user_type, "x_1", 60, NOW_MS)
    principal = tokens.verify(token, NOW_MS)
    assert (principal.user_type, principal.id) == (user_type, "x_1")
    assert principal.audience == AUDIENCE_OF[user_type]
    assert principal.expires_at_ms == NOW_MS + 60_000
    assert principal.identity == f"{AUDIENCE_OF[user_type]}:x_1"
    assert principal.issued_at_ms == NOW_MS
    assert principal.token_id.startswith("tok_")


def test_a_token_of_another_issuer_verifies(tokens: Tokens):
    """A valid signature and the four required claims are enough; no account is needed."""
    token = sign(CLAIMS)
    assert tokens.verify(token, NOW_MS) == Principal(
        user_type="RIDER",
        id="rdr_1",
        audience="rider",
        issued_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 3_600_000,
        # A token without `jti` can still be revoked.
        token_id=f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
    )


@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_token_is_token_required(tokens: Tokens, missing: object):
    """A missing token is `token_required` rather than `token_invalid`."""
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
    "a lifetime of thirty-one days": {"exp": NOW_S + TOKEN_TTL_S_MAX + 86_400},
    "a lifetime without end": {"exp": 2**53},
    "an end that is a text": {"exp": "tomorrow"},
    "an end that is true": {"exp": True},
    "an end that is no number": {"exp": float("nan")},
    "an endless end": {"exp": float("inf")},
    "a huge end": {"exp": 10**400},
    "an end before 1970": {"exp": -1},
    "no end": {"exp": None},
    "an issue in the future": {"iat": NOW_S + 3600},
    "no issue": {"iat": None},
    "an issue that is a text": {"iat": "now"},
    "a not-before in the future": {"nbf": NOW_S + 3600},
    "a not-before that is a text": {"nbf": "now"},
    "a token id that is a list": {"jti": ["a"]},
}


@pytest.mark.parametrize("claims", FORGED_CLAIMS.values(), ids=FORGED_CLAIMS)
def test_a_well_signed_token_with_bad_claims_is_refused(tokens: Tokens, claims: dict[str, Any]):
    """A valid signature does not make up for claims that the contract does not allow."""
    assert refusal_code(tokens, sign({**CLAIMS, **claims})) == "token_invalid"


@pytest.mark.parametrize("claim", ["userId", "userType", "iat", "exp"])
def test_every_claim_of_the_contract_is_required(tokens: Tokens, claim: str):
    """A token without one of the four claims is refused; the library alone would accept it."""
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
    """A token that is not signed with our key and algorithm is refused, whatever it looks like."""
    assert refusal_code(tokens, token) == "token_invalid"


def test_an_expired_token_is_token_expired(tokens: Tokens):
    """An app fetches a new token on `token_expired`, so the code says exactly that."""
    token = tokens.issue("USER", "usr_1", 60, NOW_MS - 60_000)
    assert refusal_code(tokens, token) == "token_expired"


def test_expiry_has_no_leeway(tokens: Tokens):
    """A token is valid until the millisecond before its end."""
    token = tokens.issue("USER", "usr_1", 60, NOW_MS)
    assert tokens.verify(token, NOW_MS + 59_999).id == "usr_1"
    with pytest.raises(TokenRefused, match="expired"):
        tokens.verify(token, NOW_MS + 60_000)


def test_an_issuer_may_be_half_a_minute_ahead(tokens: Tokens):
    """A token issued up to 30 s in the future is accepted: clocks of two machines differ."""
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
def test_configured_issuer_and_audience_are_checked(claims: dict[str, str], is_good: bool):
    """With JWT_ISSUER and JWT_AUDIENCE only tokens with both claims are accepted."""
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


def test_a_key_rotation_accepts_old_and_new_tokens():
    """During a rotation both keys verify; afterwards only the new one does."""
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
    """An issued token names the first key, and verifies wherever that key is configured."""
    during = Settings(jwt_secret=OLD, jwt_keys=(f"2026b:{NEW}", f"2026a:{OLD}"))
    token = Tokens(during).issue("RIDER", "rdr_1", 60, NOW_MS)
    assert jwt.get_unverified_header(token)["kid"] == "2026b"
    assert accepts(Settings(jwt_keys=(f"2026b:{NEW}",)), token)


FORGED_KEYS: dict[str, tuple[str, object]] = {
    "a key of another name": (NEW, "2026a"),
    "an unknown name": (NEW, "2027"),
    "an empty name": (NEW, ""),
    "the key without a name under a name": (SECRET, "2026a"),
    "a path": (NEW, "../../dev/null"),
    "a name with the key behind it": (NEW, f"2026b:{NEW}"),
}


@pytest.mark.parametrize(("secret", "key_id"), FORGED_KEYS.values(), ids=FORGED_KEYS)
def test_a_token_is_checked_with_the_key_it_names(secret: str, key_id: object):
    """A key verifies only tokens that name it, and a name without its key verifies nothing."""
    settings = Settings(jwt_secret=SECRET, jwt_keys=(f"2026b:{NEW}", f"2026a:{OLD}"))
    assert refusal_code(Tokens(settings), sign_with_key_id(secret, key_id)) == "token_invalid"


@pytest.mark.parametrize("key_id", [["2026b"], {"2026b": 1}, 7, True])
def test_a_key_name_of_another_type_is_refused(key_id: object):
    """A `kid` header may be of any JSON type, also one that cannot be a dictionary key."""
    header = encode_part({"alg": "HS256", "typ": "JWT", "kid": key_id})
    settings = Settings(jwt_keys=(f"2026b:{NEW}",))
    assert refusal_code(Tokens(settings), f"{header}.{BODY}.AA") == "token_invalid"


def test_at_least_forty_kinds_of_forgery_are_tested():
    """The promise names forty; the tables above hold them, each as a test of its own."""
    tables = (FORGED_CLAIMS, FORGED_TOKENS, FORGED_KEYS)
    assert sum(len(table) for table in tables) >= 40


# Revocation and the cache of verified tokens.


def test_a_revoked_token_is_token_invalid():
    """A revoked token is refused like a forged one; other principals' tokens stay valid."""
    tokens = Tokens(Settings(jwt_secret=SECRET), lambda principal: principal.id == "rdr_1")
    assert refusal_code(tokens, GOOD) == "token_invalid"
    assert tokens.verify(sign({**CLAIMS, "userId": "rdr_2"}), NOW_MS).id == "rdr_2"
    assert tokens.read(GOOD, NOW_MS).id == "rdr_1"


def test_a_revoked_and_expired_token_is_token_expired():
    """Expiry is checked before revocation."""
    tokens = Tokens(Settings(jwt_secret=SECRET), lambda _principal: True)
    assert refusal_code(tokens, sign({**CLAIMS, "exp": NOW_S - 1})) == "token_expired"


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that the JWT library decodes from now on."""
    decoded: list[str] = []
    decode = jwt.decode

    def record(token: str, *args: Any, **options: Any) -> dict[str, Any]:
        decoded.append(token)
        return decode(token, *args, **options)

    monkeypatch.setattr(jwt, "decode", record)
    return decoded


def test_a_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch):
    """A repeated token is not decoded again; its expiry and revocation are checked every time."""
    decoded, revoked_ids = count_decodes(monkeypatch), set[str]()
    tokens = Tokens(Settings(jwt_secret=SECRET), lambda principal: principal.id in revoked_ids)
    token = sign(CLAIMS)
    principal = tokens.verify(token, NOW_MS)
    assert tokens.verify(token, NOW_MS + 1_000) == principal
    with pytest.raises(TokenRefused, match="expired"):
        tokens.verify(token, NOW_MS + 3_600_000)
    revoked_ids.add("rdr_1")
    assert refusal_code(tokens, token) == "token_invalid"
    assert decoded == [token]


def test_forged_and_refresh_tokens_are_not_cached(tokens: Tokens):
    """A forged token stays refused, and a refresh token that was read is no access token."""
    forged = sign(CLAIMS, "x" * 32)
    refresh = tokens.issue_pair("RIDER", "rdr_1", RefreshClaims("sin_1", 1), NOW_MS).refresh
    assert tokens.read_refresh(refresh, NOW_MS).sign_in == "sin_1"
    assert [refusal_code(tokens, token) for token in (forged, refresh) * 2] == ["token_invalid"] * 4


def test_the_cache_of_verified_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """The least recently used token is decoded again."""
    decoded = count_decodes(monkeypatch)
    tokens = Tokens(Settings(jwt_secret=SECRET), verified_tokens_max=2)
    first, second, third = (sign({**CLAIMS, "userId": f"rdr_{n}"}) for n in range(3))
    for token in (first, second, first, third, first, third):
        tokens.verify(token, NOW_MS)
    assert decoded == [first, second, third]
    tokens.verify(second, NOW_MS)
    assert decoded == [first, second, third, second]


def sign_raw(header: object, claims: object) -> str:
    """A token with any header and any claims, rightly signed."""
    signed = f"{encode_part(header)}.{encode_part(claims)}"
    digest = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "extra",
    [{"crit": ["x"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"kid": 5}]
    + [{"alg": alg} for alg in ("none", "hs256", "HS384", ["HS256"], None, 5)],
)
def test_a_header_that_changes_the_meaning_is_refused(tokens: Tokens, extra: dict[str, Any]):
    """Also with the right signature. Source: RFC 7515 section 4.1.11, RFC 7797."""
    assert refusal_code(tokens, sign_raw({"alg": "HS256", **extra}, CLAIMS)) == "token_invalid"


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "zip", "enc", "cty", "typ"])
def test_other_headers_are_ignored(tokens: Tokens, name: str):
    """No key is fetched or taken from a token, and nothing is decompressed."""
    header = {"alg": "HS256", name: "http://127.0.0.1/"}
    assert tokens.verify(sign_raw(header, CLAIMS), NOW_MS).id == "rdr_1"


@pytest.mark.parametrize("claims", [{"sub": 5}, {"sub": None}, {"iss": 5}, {"aud": ["x"]}])
def test_claims_of_others_are_ignored(tokens: Tokens, claims: dict[str, Any]):
    """An issuer may use claims that the contract does not have for anything."""
    assert tokens.verify(sign_raw({"alg": "HS256"}, {**CLAIMS, **claims}), NOW_MS).id == "rdr_1"
