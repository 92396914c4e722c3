"""Sign-in codes: derived from what is stored, sent within the budget, and matched."""

import hmac
from dataclasses import dataclass
from typing import NamedTuple

from dispatch import metrics
from dispatch.accounts.code_budget import CodeBudget
from dispatch.accounts.codes import Codes, LiveCode
from dispatch.accounts.store import Login
from dispatch.errors import Refusal, Refused
from dispatch.wire.phones import country_of
from handlers.gateways.code_sender import CodeSender, SentCode
from handlers.sessions.auth import Tokens

# Digits of a keyed hash that name a network and sign a challenge. Source: chosen; 128 bits, which
# nobody guesses.
_HEX_DIGITS = 32


class CodeAnswer(NamedTuple):
    """The answer to a request for a code. Units: Unix milliseconds."""

    until_ms: int
    sent: SentCode


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInCodes:
    """Sends and matches the codes of logins; `countries` are those whose numbers get codes."""

    codes: Codes
    budget: CodeBudget
    sender: CodeSender
    countries: frozenset[str]

    def require_allowed(self, login: Login) -> None:
        """Check that codes are sent, and to the login's country.

        Errors: Refused SERVICE_DISABLED, COUNTRY_NOT_SERVED.
        """
        self.sender.require_enabled()
        country = country_of(login.phone)
        if country not in self.countries:
            served = ", ".join(sorted(self.countries))
            message = f"codes are sent to numbers of {served} only"
            raise Refused(Refusal.COUNTRY_NOT_SERVED, message, {"country": country})

    async def send(self, tokens: Tokens, login: Login, *, may_send: bool) -> CodeAnswer:
        """Send the login's code; after too many requests of unknown networks rely on the last.

        Errors: Refused RATE_LIMITED, UNAVAILABLE; StoreUnavailable.
        """
        if not may_send:
            return await self._join(tokens, login)
        left = await self.budget.take()
        if not left.is_granted:
            details: dict[str, object] = {"retryAfterMs": left.wait_ms}
            raise Refused(Refusal.RATE_LIMITED, "no more codes are sent today", details)
        issued = await self.codes.issue(login)
        code = _derive(tokens, login, issued)
        try:
            sent = await self.sender.send(login.phone, code, issued.until_ms)
        except Refused:
            metrics.CODES.labels("failed").inc()
            raise
        metrics.CODES.labels("sent").inc()
        return CodeAnswer(issued.until_ms, sent)

    async def find(self, tokens: Tokens, login: Login, code: str) -> LiveCode | None:
        """The live code of the login that these digits are; None for a wrong or expired one.

        Errors: StoreUnavailable.
        """
        for live in await self.codes.live(login):
            if hmac.compare_digest(_derive(tokens, login, live), code):
                return live
        return None

    async def _join(self, tokens: Tokens, login: Login) -> CodeAnswer:
        live = await self.codes.live(login)
        if not live:
            raise Refused(Refusal.RATE_LIMITED, "too many codes for this phone; wait some minutes")
        metrics.CODES.labels("joined").inc()
        return CodeAnswer(live[0].until_ms, self.sender.shown(_derive(tokens, login, live[0])))


def network_source(tokens: Tokens, login: Login, network: str) -> str:
    """What stands for a caller's network in the stores, which hold no addresses.

    Shapes: 32 hex digits.
    """
    return tokens.keyed_hash(f"source:{login.label}:{network}")[:_HEX_DIGITS]


def challenge_of(tokens: Tokens, login: Login, source: str) -> str:
    """The `challengeId` that says which network asked for a code; signed."""
    return f"{source}.{tokens.keyed_hash(f'challenge:{login.label}:{source}')[:_HEX_DIGITS]}"


def source_of_challenge(tokens: Tokens, login: Login, challenge: str | None) -> str | None:
    """The network that asked for the code; None without a valid challenge of this login."""
    source = (challenge or "").partition(".")[0]
    expected = challenge_of(tokens, login, source).encode()
    return source if hmac.compare_digest(expected, (challenge or "").encode()) else None


def _derive(tokens: Tokens, login: Login, code: LiveCode) -> str:
    """The six digits of a code. Shapes: 64 bits of an HMAC, modulo a million."""
    digest = tokens.keyed_hash(f"code:{login.label}:{code.nonce}")
    return f"{int(digest[:16], 16) % 1_000_000:06d}"
