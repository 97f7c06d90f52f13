"""Tokens: who is let in, who is not, and what they are told. Nothing of a token ever shows in a message."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.adapters.jwt.hs256 import MAX_TOKEN_LENGTH, Hs256Tokens
from coordinator.adapters.memory.clock import ManualClock
from coordinator.domain.errors import UnauthenticatedError
from coordinator.domain.events import Role
from coordinator.ports.identity import Identity, TokenVerifier

SECRET = "correct horse battery staple, twice"
# Far from the time at which the tests run, in both directions, so that the wall clock cannot help.
NOW = datetime(2030, 3, 4, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
CLAIMS: dict[str, Any] = {"sub": "anna", "role": "participant", "exp": SECONDS + 60}


@pytest.fixture(params=[NOW, datetime(2001, 1, 1, tzinfo=UTC)], ids=["in 2030", "in 2001"])
def clock(request: pytest.FixtureRequest) -> ManualClock:
    return ManualClock(request.param)


@pytest.fixture
def then() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(params=[False, True], ids=["its first token", "one that it has seen the like of"])
def tokens(request: pytest.FixtureRequest, then: ManualClock) -> Hs256Tokens:
    verifier = Hs256Tokens(SECRET, clock=then)
    if request.param:
        verifier.verify(sign(CLAIMS))
    return verifier


def sign(claims: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    # PyJWT would refuse to make some of the tokens that it must be tried with.
    return jwt.PyJWS().encode(json.dumps(claims).encode(), secret, algorithm=algorithm)


def head_for(algorithm: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"typ": "JWT", "alg": algorithm}).encode()).decode().rstrip("=")


def without(*claims: str) -> dict[str, Any]:
    return {name: value for name, value in CLAIMS.items() if name not in claims}


def refused(tokens: TokenVerifier, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as refusal:
        tokens.verify(token)
    message = refusal.value.message
    for part in token.split("."):
        assert not part or part not in message
    # A log of what led to it could hold the token.
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
    return message


def test_a_good_token_tells_who_it_is(tokens: Hs256Tokens) -> None:
    expected = Identity(user_id=CLAIMS["sub"], role=Role.PARTICIPANT, expires_at=NOW + timedelta(seconds=60))
    assert tokens.verify(sign(CLAIMS)) == expected
    assert tokens.verify(sign({**CLAIMS, "jti": 7, "name": "Anna", "iss": "anyone"})) == expected


@pytest.mark.parametrize("role", ["participant", "moderator", "recorder", "admin"])
def test_every_role_of_people_and_services_is_known(tokens: Hs256Tokens, role: str) -> None:
    assert tokens.verify(sign({**CLAIMS, "role": role})).role == role


@pytest.mark.parametrize("role", ["system", "Participant", "", "root", None, 1, ["admin"], {"admin": True}])
def test_no_other_role_is(tokens: Hs256Tokens, role: Any) -> None:
    message = refused(tokens, sign({**CLAIMS, "role": role}))
    assert message == "the claim role is not one of admin, moderator, participant, recorder"


@pytest.mark.parametrize("subject", ["a", "x" * 128, "cléo", "🎙" * 128, "a b\nc"])
def test_any_text_of_the_right_length_is_a_user(tokens: Hs256Tokens, subject: str) -> None:
    assert tokens.verify(sign({**CLAIMS, "sub": subject})).user_id == subject


@pytest.mark.parametrize("subject", ["", "x" * 129, 7, None, ["anna"], True, "half a pair \ud83c"])
def test_nothing_else_is(tokens: Hs256Tokens, subject: Any) -> None:
    assert "claim sub" in refused(tokens, sign({**CLAIMS, "sub": subject}))


@pytest.mark.parametrize("claim", ["sub", "role", "exp"])
def test_a_missing_claim_is_named(tokens: Hs256Tokens, claim: str) -> None:
    assert refused(tokens, sign(without(claim))) == f"the token lacks the claim {claim}"


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["1900000000", None, True, [1], {}, 1e300, 10**400, -1e300, float("nan"), float("inf")]
)
def test_a_time_that_is_none_is_named(tokens: Hs256Tokens, claim: str, value: Any) -> None:
    assert f"claim {claim}" in refused(tokens, sign({**CLAIMS, claim: value}))


async def test_a_token_ends_at_the_instant_that_it_names(tokens: Hs256Tokens, then: ManualClock) -> None:
    token = sign({**CLAIMS, "exp": SECONDS + 1.25})
    assert tokens.verify(token).expires_at == NOW + timedelta(seconds=1.25)
    await then.advance(1.249)
    tokens.verify(token)
    await then.advance(0.001)
    assert refused(tokens, token) == "the token has expired (exp)"


@pytest.mark.parametrize(("claim", "words"), [("nbf", "not valid yet"), ("iat", "issued in the future")])
async def test_a_token_begins_at_the_instant_that_it_names(
    tokens: Hs256Tokens, then: ManualClock, claim: str, words: str
) -> None:
    token = sign({**CLAIMS, claim: SECONDS + 2})
    message = refused(tokens, token)
    assert words in message
    assert f"({claim})" in message
    await then.advance(1.999)
    refused(tokens, token)
    await then.advance(0.001)
    tokens.verify(token)


async def test_leeway_forgives_at_both_ends_and_moves_the_expiry(then: ManualClock) -> None:
    lenient = Hs256Tokens(SECRET, leeway_seconds=5, clock=then)
    early = sign({**CLAIMS, "nbf": SECONDS + 5, "iat": SECONDS + 5, "exp": SECONDS + 10})
    assert lenient.verify(early).expires_at == NOW + timedelta(seconds=15)
    refused(lenient, sign({**CLAIMS, "nbf": SECONDS + 6}))
    await then.advance(14.999)
    lenient.verify(early)
    await then.advance(0.001)
    refused(lenient, early)


def test_a_token_without_signature_is_refused(tokens: Hs256Tokens) -> None:
    unsigned = jwt.encode(CLAIMS, "", algorithm="none")
    assert refused(tokens, unsigned) == "the token is not signed with HS256 (alg)"
    head, body, _ = sign(CLAIMS).split(".")
    assert refused(tokens, f"{head}.{body}.") == "the token's signature does not match"
    for name in ("None", "NONE", "nOnE", ""):
        refused(tokens, f"{head_for(name)}.{body}.")


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused_even_with_the_right_secret(tokens: Hs256Tokens, algorithm: str) -> None:
    token = sign(CLAIMS, secret=SECRET * 2, algorithm=algorithm)
    assert "(alg)" in refused(tokens, token)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "PS256"])
def test_an_asymmetric_algorithm_is_refused_whatever_the_signature(tokens: Hs256Tokens, algorithm: str) -> None:
    _, body, signature = sign(CLAIMS).split(".")
    assert "(alg)" in refused(tokens, f"{head_for(algorithm)}.{body}.{signature}")


def test_a_token_without_algorithm_is_refused(tokens: Hs256Tokens) -> None:
    _, body, signature = sign(CLAIMS).split(".")
    assert "(alg)" in refused(tokens, f"e30.{body}.{signature}")


def test_another_secret_is_refused(tokens: Hs256Tokens) -> None:
    assert refused(tokens, sign(CLAIMS, secret=SECRET + "!")) == "the token's signature does not match"


def test_a_changed_claim_is_refused(tokens: Hs256Tokens) -> None:
    head, _, signature = sign(CLAIMS).split(".")
    _, admin, _ = sign({**CLAIMS, "role": "admin"}).split(".")
    assert "signature" in refused(tokens, f"{head}.{admin}.{signature}")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "not a token",
        "ä.ö.ü",
        "\ud83c.a.b",
        "\0",
        base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.e30",
    ],
)
def test_what_is_no_token_is_refused(tokens: Hs256Tokens, token: str) -> None:
    with pytest.raises(UnauthenticatedError, match="malformed"):
        tokens.verify(token)


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b"not json", b"\xff\xfe"])
def test_a_signed_payload_that_is_no_object_is_refused(tokens: Hs256Tokens, payload: bytes) -> None:
    assert "malformed" in refused(tokens, jwt.PyJWS().encode(payload, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("spelling", ["{}=", "{}==", " {}", "{}\n", "{}.{}", "!{}", ".{}"])
@pytest.mark.parametrize("claims", [CLAIMS, {**CLAIMS, "sub": "annas"}, {**CLAIMS, "sub": "anna's"}])
def test_a_payload_in_another_spelling_is_taken_or_refused_as_ever(
    then: ManualClock, spelling: str, claims: dict[str, Any]
) -> None:
    head, body, _ = sign(claims).split(".")
    signed = f"{head}.{spelling.format(body, body)}"
    digest = hmac.digest(SECRET.encode(), signed.encode(), "sha256")
    token = f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    first, later = Hs256Tokens(SECRET, clock=then), Hs256Tokens(SECRET, clock=then)
    later.verify(sign(CLAIMS))
    assert outcome(later, token) == outcome(first, token)


@given(
    claims=st.dictionaries(
        st.sampled_from(["sub", "role", "exp", "nbf", "iat", "iss", "aud", "jti"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(SECONDS - 2, SECONDS + 2),
            st.floats(),
            st.sampled_from(["anna", "participant", "us", "rooms", "", "\ud83c"]),
            st.lists(st.sampled_from(["rooms", "others"]), max_size=2),
        ),
    ),
    cut=st.none() | st.integers(0, 300),
    configured=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_the_like_of_what_was_accepted_is_judged_as_if_it_were_the_first(
    claims: dict[str, Any], cut: int | None, configured: bool
) -> None:
    clock = ManualClock(NOW)
    issuer, audience = ("us", "rooms") if configured else (None, None)
    first, later = (Hs256Tokens(SECRET, issuer=issuer, audience=audience, clock=clock) for _ in range(2))
    later.verify(later.issue("anna", Role.PARTICIPANT, 60))
    later.verify(sign({**CLAIMS, "iss": "us", **({"aud": ["rooms"]} if configured else {})}))
    token = sign({**CLAIMS, **({"iss": "us", "aud": "rooms"} if configured else {}), **claims})
    if cut is not None:
        place = cut % len(token)
        token = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    assert outcome(later, token) == outcome(first, token)


def outcome(tokens: TokenVerifier, token: str) -> Identity | str:
    try:
        return tokens.verify(token)
    except UnauthenticatedError as refusal:
        return refusal.message


def test_an_endless_token_is_not_even_looked_at(tokens: Hs256Tokens) -> None:
    assert "longer than" in refused(tokens, "x" * (MAX_TOKEN_LENGTH + 1))


@pytest.mark.parametrize("issuer", ["someone else", "", None, 7, ["us"]])
def test_another_issuer_is_refused(then: ManualClock, issuer: Any) -> None:
    ours = Hs256Tokens(SECRET, issuer="us", clock=then)
    ours.verify(sign({**CLAIMS, "iss": "us"}))
    assert "iss" in refused(ours, sign({**CLAIMS, "iss": issuer}))
    assert refused(ours, sign(CLAIMS)) == "the token lacks the claim iss"


@pytest.mark.parametrize("audience", ["others", ["others", "them"], "", [], None, 7, [7], {"rooms": True}])
def test_another_audience_is_refused(then: ManualClock, audience: Any) -> None:
    ours = Hs256Tokens(SECRET, audience="rooms", clock=then)
    ours.verify(sign({**CLAIMS, "aud": "rooms"}))
    ours.verify(sign({**CLAIMS, "aud": ["others", "rooms"]}))
    assert "aud" in refused(ours, sign({**CLAIMS, "aud": audience}))
    assert refused(ours, sign(CLAIMS)) == "the token lacks the claim aud"


@pytest.mark.parametrize("audience", ["rooms", ["rooms"]])
def test_a_token_for_an_audience_is_refused_where_none_is_configured(tokens: Hs256Tokens, audience: Any) -> None:
    message = refused(tokens, sign({**CLAIMS, "aud": audience}))
    assert message == "the token is meant for an audience (aud), and this server is configured with none"


@pytest.mark.parametrize("secret", ["", "x" * 31, "é" * 15])
def test_a_short_secret_is_refused(then: ManualClock, secret: str) -> None:
    with pytest.raises(ValueError, match="at least 32 are needed") as refusal:
        Hs256Tokens(secret, clock=then)
    assert not secret or secret not in str(refusal.value)


def test_the_length_of_a_secret_counts_in_bytes(then: ManualClock) -> None:
    Hs256Tokens("é" * 16, clock=then)


@pytest.mark.parametrize(("issuer", "audience"), [(None, None), ("us", "rooms")])
async def test_issued_tokens_are_accepted_until_they_end(
    clock: ManualClock, issuer: str | None, audience: str | None
) -> None:
    tokens = Hs256Tokens(SECRET, issuer=issuer, audience=audience, clock=clock)
    await clock.advance(0.75)
    token = tokens.issue("cléo", Role.MODERATOR, 2.5)
    ends = clock.now() + timedelta(seconds=2.5)
    assert tokens.verify(token) == Identity(user_id=tokens.verify(token).user_id, role=Role.MODERATOR, expires_at=ends)
    assert tokens.verify(token).user_id == "cléo"
    await clock.advance(2.499)
    tokens.verify(token)
    await clock.advance(0.001)
    refused(tokens, token)


@pytest.mark.parametrize(
    ("user_id", "role", "ttl_seconds"),
    [
        ("", Role.ADMIN, 60),
        ("x" * 129, Role.ADMIN, 60),
        ("anna", Role.SYSTEM, 60),
        ("anna", Role.ADMIN, 0),
        ("anna", Role.ADMIN, -1),
        ("anna", Role.ADMIN, 1e300),
        ("anna", Role.ADMIN, float("inf")),
        ("anna", Role.ADMIN, float("nan")),
    ],
)
def test_what_would_be_refused_is_not_issued(tokens: Hs256Tokens, user_id: str, role: Role, ttl_seconds: float) -> None:
    with pytest.raises(ValueError, match=r"claim|time to live"):
        tokens.issue(user_id, role, ttl_seconds)
