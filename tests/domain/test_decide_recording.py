"""Consent, and who may be recorded at every instant (SPEC section 2, consent and recording)."""

from collections.abc import Callable, Iterable

import pytest

from coordinator.domain.commands import Command
from coordinator.domain.errors import NotInSessionError
from coordinator.domain.events import (
    SYSTEM,
    EventBody,
    LeftReason,
    ParticipantJoined,
    ParticipantLeft,
    PermissionReason,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionStarted,
)
from coordinator.domain.model import EndReason
from coordinator.domain.state import Interval
from tests.domain.samples import joined
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END,
    END_IT,
    GRACE,
    MODERATOR,
    PASS,
    START,
    Story,
    acting,
    consent,
    join,
    kinds,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
    running,
    said,
    seconds,
)

PERMISSIONS = (RecordingPermitted, RecordingWithdrawn)


def permissions(events: Iterable[EventBody]) -> list[EventBody]:
    return [body for body in events if isinstance(body, PERMISSIONS)]


def permitted(reason: PermissionReason) -> RecordingPermitted:
    return RecordingPermitted(user_id=ANNA, reason=reason)


def withdrawn(reason: PermissionReason) -> RecordingWithdrawn:
    return RecordingWithdrawn(user_id=ANNA, reason=reason)


def recorded() -> Story:
    """Anna, Ben and Cleo in a running, recorded session; only Anna has consented."""
    return running(ANNA, BEN, CLEO, recording=True, consenting=[ANNA])


class TestConsent:
    def test_is_granted_by_the_user_under_a_policy(self) -> None:
        story = running(ANNA, BEN)
        events = story.when(consent(ANNA, "2030-01"))
        assert said(events) == [RecordingConsentGranted(user_id=ANNA, policy_version="2030-01")]
        assert events[0].actor == acting(ANNA)
        assert story.participant(ANNA).recording_consent
        assert story.participant(ANNA).policy_version == "2030-01"

    def test_the_same_again_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(consent(ANNA, "2030-01"))
        assert story.when(consent(ANNA, "2030-01")) == []
        assert story.when(consent(ANNA)) == [], "no policy named: the one already agreed to"

    def test_to_another_policy_is_another_consent(self) -> None:
        story = running(ANNA, BEN, recording=True, consenting=[ANNA])
        for version in ("2030-01", "2030-02"):
            assert said(story.when(consent(ANNA, version))) == [
                RecordingConsentGranted(user_id=ANNA, policy_version=version)
            ], "consent stood all along, so permission does too"
        assert story.participant(ANNA).policy_version == "2030-02"

    def test_is_revoked(self) -> None:
        story = running(ANNA, BEN).given(consent(ANNA, "2030-01"))
        assert said(story.when(revoke(ANNA, "2030-02"))) == [
            RecordingConsentRevoked(user_id=ANNA, policy_version="2030-02")
        ]
        assert not story.participant(ANNA).recording_consent

    def test_what_was_not_granted_cannot_be_revoked(self) -> None:
        story = running(ANNA, BEN)
        assert story.when(revoke(ANNA)) == []
        story.given(consent(ANNA), revoke(ANNA))
        assert story.when(revoke(ANNA, "2030-09")) == []

    def test_can_be_granted_again(self) -> None:
        story = running(ANNA, BEN).given(consent(ANNA, "2030-01"), revoke(ANNA, "2030-01"))
        assert said(story.when(consent(ANNA, "2030-01"))) == [
            RecordingConsentGranted(user_id=ANNA, policy_version="2030-01")
        ]

    def test_can_be_granted_in_the_lobby(self) -> None:
        story = Story().given(join(ANNA), record())
        assert kinds(story.when(consent(ANNA))) == ["recording_consent_granted"]

    def test_is_remembered_when_its_user_comes_back(self) -> None:
        story = running(ANNA, BEN).given(consent(ANNA, "2030-01"), leave(ANNA))
        assert said(story.when(join(ANNA))) == [joined(ANNA, consenting=True)]
        assert story.participant(ANNA).recording_consent
        assert story.when(consent(ANNA, "2030-01")) == []

    def test_so_is_its_revocation(self) -> None:
        story = running(ANNA, BEN).given(consent(ANNA), revoke(ANNA), leave(ANNA))
        assert said(story.when(join(ANNA))) == [joined(ANNA, consenting=False)]

    def test_is_for_those_present(self) -> None:
        story = running(ANNA, BEN, CLEO).given(lose(ANNA), leave(BEN), remove(CLEO))
        for who in (ANNA, BEN, CLEO, DINA):
            for command in (consent(who), revoke(who)):
                with pytest.raises(NotInSessionError):
                    story.when(command)


class TestSwitch:
    def test_a_moderator_switches_recording_on_and_off(self) -> None:
        story = running(ANNA, BEN)
        events = story.when(record())
        assert said(events) == [RecordingEnabled()]
        assert events[0].actor == MODERATOR
        assert story.session.recording_enabled
        assert said(story.when(record(enabled=False))) == [RecordingDisabled()]
        assert not story.session.recording_enabled

    def test_what_already_is_changes_nothing(self) -> None:
        story = Story()
        assert story.when(record(enabled=False)) == []
        story.given(record())
        assert story.when(record()) == []


class TestNobodyIsRecordedByDefault:
    def test_without_anything(self) -> None:
        assert permissions(said(running(ANNA, BEN).log)) == []

    def test_with_recording_but_no_consent(self) -> None:
        assert permissions(said(running(ANNA, BEN, recording=True).log)) == []

    def test_with_consent_but_no_recording(self) -> None:
        assert permissions(said(running(ANNA, BEN, consenting=[ANNA, BEN]).log)) == []

    def test_in_the_lobby(self) -> None:
        story = Story().given(join(ANNA), join(BEN), record(), consent(ANNA), consent(BEN))
        assert permissions(said(story.log)) == []

    def test_camera_and_microphone_do_not_matter(self) -> None:
        story = running(ANNA, BEN, recording=True).given(media(ANNA, camera=True, mic=True))
        assert permissions(said(story.log)) == []


def without_consent() -> Story:
    return running(ANNA, BEN, recording=True)


def without_recording() -> Story:
    return running(ANNA, BEN, CLEO, consenting=[ANNA])


def not_started() -> Story:
    return Story().given(join(ANNA), consent(ANNA), record(), at=minutes(-5))


def having_left() -> Story:
    return recorded().given(leave(ANNA), at=minutes(1))


def being_away() -> Story:
    return recorded().given(lose(ANNA), at=minutes(1))


Reason = PermissionReason
ANNA_LEFT = ParticipantLeft(user_id=ANNA, reason=LeftReason.LEFT)


@pytest.mark.parametrize(
    ("given", "command", "causes", "reason"),
    [
        (without_consent, consent(ANNA), [RecordingConsentGranted(user_id=ANNA)], Reason.CONSENT_GRANTED),
        (without_recording, record(), [RecordingEnabled()], Reason.RECORDING_ENABLED),
        (not_started, join(BEN), [joined(BEN), SessionStarted()], Reason.SESSION_STARTED),
        (having_left, join(ANNA), [joined(ANNA, consenting=True)], Reason.JOINED),
        (being_away, join(ANNA), None, Reason.RECONNECTED),
    ],
    ids=lambda value: value.value if isinstance(value, PermissionReason) else "",
)
def test_permission_directly_follows_its_cause(
    given: Callable[[], Story], command: Command, causes: list[EventBody] | None, reason: PermissionReason
) -> None:
    story = given()
    events = story.when(command, at=minutes(1) + seconds(10))
    if causes is None:
        assert kinds(events)[:-1] == ["participant_reconnected"]
    else:
        assert said(events)[:-1] == causes
    assert events[-1].body == permitted(reason)
    assert events[-1].actor == SYSTEM
    assert story.participant(ANNA).is_permitted


@pytest.mark.parametrize(
    ("command", "cause", "reason"),
    [
        (revoke(ANNA), RecordingConsentRevoked, Reason.CONSENT_REVOKED),
        (record(enabled=False), RecordingDisabled, Reason.RECORDING_DISABLED),
        (END_IT, SessionEnded, Reason.SESSION_ENDED),
        (lose(ANNA), None, Reason.DISCONNECTED),
        (leave(ANNA), ParticipantLeft, Reason.LEFT),
        (remove(ANNA), ParticipantLeft, Reason.REMOVED),
    ],
    ids=lambda value: value.value if isinstance(value, PermissionReason) else "",
)
def test_withdrawal_directly_follows_its_cause(
    command: Command, cause: type[EventBody] | None, reason: PermissionReason
) -> None:
    story = recorded()
    events = story.when(command, at=minutes(1))
    assert events[0].body.kind == (cause.kind if cause else "participant_disconnected")
    assert events[1].body == withdrawn(reason)
    assert events[1].actor == SYSTEM
    assert permissions(said(events[2:])) == []
    assert not story.participant(ANNA).is_permitted
    assert story.participant(ANNA).recordable == (Interval(START, START + minutes(1)),)


class TestPermission:
    def test_follows_the_start_in_time(self) -> None:
        story = Story().given(join(ANNA), join(BEN), consent(ANNA), record(), at=minutes(-5))
        assert said(story.when(PASS, at=minutes(0))) == [SessionStarted(), permitted(Reason.SESSION_STARTED)]

    def test_is_withdrawn_before_anyone_leaves_at_the_end(self) -> None:
        story = running(ANNA, BEN, recording=True, consenting=[ANNA, BEN])
        assert said(story.when(PASS, at=END)) == [
            SessionEnded(reason=EndReason.COMPLETED),
            withdrawn(Reason.SESSION_ENDED),
            RecordingWithdrawn(user_id=BEN, reason=Reason.SESSION_ENDED),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]

    def test_is_for_everyone_who_consented_and_nobody_else(self) -> None:
        story = running(ANNA, BEN, CLEO, consenting=[ANNA, CLEO])
        assert said(story.when(record())) == [
            RecordingEnabled(),
            permitted(Reason.RECORDING_ENABLED),
            RecordingPermitted(user_id=CLEO, reason=Reason.RECORDING_ENABLED),
        ]
        assert said(story.when(record(enabled=False))) == [
            RecordingDisabled(),
            withdrawn(Reason.RECORDING_DISABLED),
            RecordingWithdrawn(user_id=CLEO, reason=Reason.RECORDING_DISABLED),
        ]

    def test_is_not_given_to_one_who_is_away(self) -> None:
        story = without_recording().given(lose(ANNA), at=minutes(1))
        assert said(story.when(record())) == [RecordingEnabled()]
        assert story.when(join(ANNA))[-1].body == permitted(Reason.RECONNECTED)

    def test_is_withdrawn_once(self) -> None:
        story = recorded().given(lose(ANNA), at=minutes(1)).given(record(enabled=False), remove(ANNA), END_IT)
        assert story.of_kind(RecordingWithdrawn) == [withdrawn(Reason.DISCONNECTED)]

    def test_is_not_withdrawn_again_by_the_timeout(self) -> None:
        story = recorded().given(lose(ANNA), at=minutes(1))
        assert said(story.when(PASS, at=minutes(1) + GRACE)) == [
            ParticipantLeft(user_id=ANNA, reason=LeftReason.TIMEOUT)
        ]

    @pytest.mark.parametrize(
        "command",
        [
            join(ANNA, via=phone(ANNA)),
            media(ANNA, camera=True, mic=True),
            mute(ANNA),
            consent(ANNA, "2030-02"),
            join(DINA),
            leave(BEN),
            remove(CLEO),
        ],
        ids=lambda command: type(command).__name__,
    )
    def test_stands_while_its_conditions_do(self, command: Command) -> None:
        story = recorded()
        assert permissions(said(story.when(command))) == []
        assert story.participant(ANNA).is_permitted

    def test_does_not_return_with_one_condition_alone(self) -> None:
        story = recorded().given(revoke(ANNA), record(enabled=False))
        assert said(story.when(record())) == [RecordingEnabled()]
        assert said(story.when(consent(ANNA))) == [
            RecordingConsentGranted(user_id=ANNA),
            permitted(Reason.CONSENT_GRANTED),
        ]

    def test_leaves_a_trace_of_every_interval(self) -> None:
        story = recorded().given(revoke(ANNA), at=minutes(1)).given(consent(ANNA), at=minutes(2))
        story.given(lose(ANNA), at=minutes(3)).given(join(ANNA), at=minutes(3) + seconds(10))
        assert story.participant(ANNA).recordable == (
            Interval(START, START + minutes(1)),
            Interval(START + minutes(2), START + minutes(3)),
            Interval(START + minutes(3) + seconds(10)),
        )

    def test_joining_a_recorded_session_waits_for_consent(self) -> None:
        story = recorded().given(join(DINA))
        assert story.of_kind(ParticipantJoined)[-1].recording_consent is False
        assert kinds(story.when(consent(DINA))) == ["recording_consent_granted", "recording_permitted"]
