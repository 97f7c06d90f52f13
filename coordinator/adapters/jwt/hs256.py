"""Tokens signed with a shared secret: HS256 and nothing else (SPEC section 4, tokens; RFC 7519; RFC 8725 section 3.1).

Owns the checks and their messages. A message names the claim that is wrong and never repeats anything of the token,
which may be someone's secret. Times are checked against the given clock, not the one that PyJWT reads by itself.

PyJWT says what is acceptable. It looks at every segment character by character, which is the largest part of a connect;
so a token like those that it has accepted takes a short way, which accepts less than PyJWT does and refuses nothing.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from jwt.types import Options

from coordinator.domain.errors import UnauthenticatedError
from coordinator.domain.events import Role
from coordinator.domain.ids import USER_ID_MAX_LENGTH, UserId
from coordinator.ports.clock import Clock
from coordinator.ports.identity import Identity

MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: a key of the same size as the hash output, or larger."""
MAX_TOKEN_LENGTH = 8192
"""Longest token that is looked at, in characters; what HTTP servers accept as one header line."""

_ALGORITHM = "HS256"
_ROLES = frozenset(Role) - {Role.SYSTEM}
_ROLE_NAMES = ", ".join(sorted(_ROLES))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEFT_TO_US: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""What PyJWT does not check: times are checked against our clock, `sub` in our words, and `jti` means nothing here."""
_MOST_KNOWN_HEADERS = 16
"""An issuer has one header for each of its keys and programs; more are not kept."""

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Hs256Tokens:
    """Verifies tokens, and issues them for the command line and the demo.

    Args:
        secret: The shared secret, at least 32 bytes in UTF-8.
        issuer: The `iss` that a token must have; None accepts any or none.
        audience: The `aud` that a token must have among its own; None accepts tokens without `aud` only, because one
            that names its audience is meant for nobody else (RFC 7519 section 4.1.3).
        leeway_seconds: Clock difference forgiven when times are checked.
        clock: Tells the time.

    Raises:
        ValueError: The secret is too short.
    """

    def __init__(
        self,
        secret: str,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway_seconds: float = 0,
        clock: Clock,
    ) -> None:
        self._key = secret.encode()
        if len(self._key) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret has {len(self._key)} bytes; at least {MIN_SECRET_BYTES} are needed")
        # In this form the library prepares it once, not for each token.
        encoded = base64.urlsafe_b64encode(self._key).rstrip(b"=").decode()
        self._verifying_key = jwt.PyJWK({"kty": "oct", "k": encoded}, _ALGORITHM)
        self._keyed = hmac.new(self._key, digestmod=hashlib.sha256)
        self._known_headers: set[str] = set()
        self._issuer = issuer
        self._audience = audience
        self._leeway = timedelta(seconds=leeway_seconds)
        self._clock = clock

    def verify(self, token: str) -> Identity:
        """Verify signature, algorithm, times, issuer and audience.

        Returns:
            The identity; it expires when this method would begin to refuse the token, leeway included.

        Raises:
            UnauthenticatedError: Anything about the token is not as it must be.
        """
        claims = self._signed_claims(token)
        user_id, role = _user_id(claims), _role(claims)
        expires_at = _end_of(claims, self._leeway)
        now = self._clock.now()
        if now >= expires_at:
            raise UnauthenticatedError("the token has expired (exp)")
        for claim, meaning in (("nbf", "is not valid yet"), ("iat", "was issued in the future")):
            if claim in claims and _instant(claims, claim) > now + self._leeway:
                raise UnauthenticatedError(f"the token {meaning} ({claim})")
        return Identity(user_id=user_id, role=role, expires_at=expires_at)

    def issue(self, user_id: str, role: Role, ttl_seconds: float) -> str:
        """Make a token that `verify` accepts from now on, for `ttl_seconds`.

        Raises:
            ValueError: The user id, the role or the time to live is one that `verify` would refuse.
        """
        now = self._clock.now()
        if not ttl_seconds > 0:
            raise ValueError("the time to live must be positive")
        claims: dict[str, Any] = {
            "sub": user_id,
            "role": str(role),
            "iat": int(now.timestamp()),
            "exp": round(now.timestamp() + ttl_seconds, 3),
        }
        try:
            _user_id(claims)
            _role(claims)
            _end_of(claims, self._leeway)
        except UnauthenticatedError as error:
            raise ValueError(error.message) from None
        if self._issuer is not None:
            claims["iss"] = self._issuer
        if self._audience is not None:
            claims["aud"] = self._audience
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def _signed_claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise UnauthenticatedError(f"the token is longer than {MAX_TOKEN_LENGTH} characters")
        header = token.partition(".")[0]
        if header in self._known_headers:
            claims = self._usual_claims(token, header)
            if claims is not None:
                return claims
        claims = self._checked_claims(token)
        if len(self._known_headers) < _MOST_KNOWN_HEADERS:
            self._known_headers.add(header)  # of a token signed with the secret: nobody else gets one in here
        return claims

    def _usual_claims(self, token: str, header: str) -> Mapping[str, Any] | None:
        """Return the claims of a token whose header is known, if `_checked_claims` would surely return the same.

        None says nothing about the token, which may be good or bad.
        """
        signed, _, signature = token.rpartition(".")
        payload = signed[len(header) + 1 :]
        try:
            keyed = self._keyed.copy()
            keyed.update(signed.encode())
            if not hmac.compare_digest(_segment(keyed.digest()), signature.encode()):
                return None
            json = base64.urlsafe_b64decode(f"{payload}==")
            claims = _decode_object(json)
        except (binascii.Error, ValueError, RecursionError):
            return None
        # Each value has one spelling in base64; the decoder of the standard library takes others, and passes over dots.
        is_usual = (
            _segment(json) == payload.encode()
            and (self._issuer is None or claims.get("iss") == self._issuer)
            and claims.get("aud") == self._audience
        )
        return claims if is_usual else None

    def _checked_claims(self, token: str) -> Mapping[str, Any]:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._verifying_key,
                algorithms=[_ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options=_LEFT_TO_US,
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            # ValueError: text that is no UTF-8; RecursionError: JSON nested without end. Neither needs a signature.
            raise UnauthenticatedError(self._explain(error)) from None
        return claims

    def _explain(self, error: Exception) -> str:
        match error:
            case jwt.InvalidAlgorithmError():
                return f"the token is not signed with {_ALGORITHM} (alg)"
            case jwt.InvalidSignatureError():
                return "the token's signature does not match"
            case jwt.MissingRequiredClaimError():
                return f"the token lacks the claim {error.claim}"
            case jwt.InvalidIssuerError():
                return "the token comes from another issuer (iss)"
            case jwt.InvalidAudienceError() if self._audience is None:
                return "the token is meant for an audience (aud), and this server is configured with none"
            case jwt.InvalidAudienceError():
                return "the token is meant for another audience (aud)"
        return "the token is malformed"


def _segment(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _required(claims: Mapping[str, Any], claim: str) -> Any:
    if claim not in claims:
        raise UnauthenticatedError(f"the token lacks the claim {claim}")
    return claims[claim]


def _user_id(claims: Mapping[str, Any]) -> UserId:
    subject = _required(claims, "sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= USER_ID_MAX_LENGTH or not _is_unicode(subject):
        raise UnauthenticatedError(f"the claim sub is not a text of 1 to {USER_ID_MAX_LENGTH} characters")
    return UserId(subject)


def _is_unicode(text: str) -> bool:
    # JSON can spell half of a surrogate pair, which no database and no client could take.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _role(claims: Mapping[str, Any]) -> Role:
    role = _required(claims, "role")
    if not isinstance(role, str) or role not in _ROLES:
        raise UnauthenticatedError(f"the claim role is not one of {_ROLE_NAMES}")
    return Role(role)


def _end_of(claims: Mapping[str, Any], leeway: timedelta) -> datetime:
    _required(claims, "exp")
    try:
        return _instant(claims, "exp") + leeway
    except OverflowError:
        raise UnauthenticatedError("the claim exp is not a time that can be") from None


def _instant(claims: Mapping[str, Any], claim: str) -> datetime:
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthenticatedError(f"the claim {claim} is not a number of seconds")
    try:
        return _EPOCH + timedelta(milliseconds=math.floor(value * 1000 + 0.5))
    except (OverflowError, ValueError):  # ValueError: not a number at all (NaN)
        raise UnauthenticatedError(f"the claim {claim} is not a time that can be") from None
