"""The closed registry of errors, the words of the data model, and identifiers (SPEC sections 1 and 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain import errors
from coordinator.domain.errors import ERRORS, CoordinatorError, StaleVersionError
from coordinator.domain.events import EVENT_TYPES, LeftReason, Role
from coordinator.domain.ids import ConnectionId, NodeId, connection_id, is_object_id, node_of
from coordinator.domain.model import (
    DURATIONS_MINUTES,
    EndReason,
    Language,
    Level,
    ParticipantStatus,
    Recurrence,
    RegistrationStatus,
    SessionStatus,
)

CONTRACT = {
    "unauthenticated": (401, False),
    "forbidden": (403, False),
    "not_found": (404, False),
    "invalid_request": (422, False),
    "slot_full": (409, False),
    "slot_inactive": (409, False),
    "slot_over": (409, False),
    "overlapping_registration": (409, False),
    "not_registered": (403, False),
    "session_not_open": (409, False),
    "session_ended": (409, False),
    "room_full": (409, False),
    "removed": (403, False),
    "not_in_session": (409, False),
    "recording_not_permitted": (409, False),
    "payload_too_large": (413, False),
    "rate_limited": (429, True),
    "unavailable": (503, True),
}


def test_the_errors_are_those_of_the_contract() -> None:
    assert {code: (error.status, error.retryable) for code, error in ERRORS.items()} == CONTRACT


def test_every_error_is_registered_under_its_own_code() -> None:
    assert all(error.code == code for code, error in ERRORS.items())
    named = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, CoordinatorError)
    }
    assert named == {CoordinatorError, StaleVersionError, *ERRORS.values()}
    assert issubclass(StaleVersionError, ERRORS[StaleVersionError.code]), "a special case of a registered one"


def test_the_tree_in_the_docstring_is_the_registry() -> None:
    assert errors.__doc__ is not None
    tree = [line.split("+- ")[1] for line in errors.__doc__.splitlines() if "+- " in line]
    drawn = {line.split()[0]: (line.split()[1], int(line.split()[2]), "retryable" in line) for line in tree}
    named: list[type[CoordinatorError]] = [*ERRORS.values(), StaleVersionError]
    assert drawn == {error.__name__: (error.code, error.status, error.retryable) for error in named}


@pytest.mark.parametrize("error", ERRORS.values(), ids=lambda error: error.code)
def test_an_error_carries_its_message_and_field(error: type[CoordinatorError]) -> None:
    raised = error("why not", field="startTime")
    assert (str(raised), raised.message, raised.field) == ("why not", "why not", "startTime")
    assert error("why not").field is None


def test_the_words_of_the_data_model() -> None:
    assert [*Language] == ["en", "fr", "es"]
    assert [*Level] == ["A1", "A2", "B1", "B2", "C1", "C2"]
    assert [*Recurrence] == ["daily", "weekly", "once"]
    assert [*RegistrationStatus] == ["registered", "cancelled", "attended", "noshow"]
    assert [*SessionStatus] == ["waiting", "active", "ended"]
    assert [*ParticipantStatus] == ["waiting", "connected", "disconnected"]
    assert [*EndReason] == ["completed", "not_enough_participants", "empty", "ended_by_moderator"]
    assert [*LeftReason] == ["left", "timeout", "removed", "session_ended"]
    assert [*Role] == ["participant", "moderator", "recorder", "admin", "system"]
    assert DURATIONS_MINUTES == (15, 30, 45)


def test_the_events_are_those_of_the_contract() -> None:
    assert set(EVENT_TYPES) == {
        "session_opened",
        "session_started",
        "session_ended",
        "participant_joined",
        "participant_disconnected",
        "participant_reconnected",
        "participant_left",
        "camera_changed",
        "mic_changed",
        "recording_consent_granted",
        "recording_consent_revoked",
        "recording_enabled",
        "recording_disabled",
        "recording_permitted",
        "recording_withdrawn",
        "recording_attached",
        "user_erased",
    }
    assert all(body.kind == kind for kind, body in EVENT_TYPES.items())


@given(st.text("0123456789abcdef", min_size=24, max_size=24))
def test_24_lower_case_hex_digits_are_an_object_id(text: str) -> None:
    assert is_object_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "a" * 23, "a" * 25, "A" * 24, "g" * 24, "a" * 24 + "\n", "\n" + "a" * 24, " " + "a" * 23, "१" * 24, "a" * 48],
    ids=ascii,
)
def test_anything_else_is_not(text: str) -> None:
    assert not is_object_id(text)


def test_a_connection_is_named_after_its_node() -> None:
    connection = connection_id(NodeId("node1"), 17)
    assert connection == "node1-17"
    assert node_of(connection) == "node1"


@given(node=st.text(min_size=1).map(NodeId), number=st.integers(0))
def test_the_node_of_a_connection_is_found_again_whatever_its_name(node: NodeId, number: int) -> None:
    assert node_of(connection_id(node, number)) == node


def test_what_names_no_node_has_none() -> None:
    assert node_of(ConnectionId("stray")) == ""
