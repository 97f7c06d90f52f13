"""Seats, connections, media and moderation (SPEC section 2, participant)."""

import pytest

from coordinator.domain.commands import Command
from coordinator.domain.errors import (
    NotInSessionError,
    NotRegisteredError,
    RemovedError,
    RoomFullError,
)
from coordinator.domain.events import (
    SYSTEM,
    CameraChanged,
    DisconnectReason,
    LeftReason,
    MicChanged,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
)
from coordinator.domain.transitions import Presence
from tests.domain.samples import joined
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    GRACE,
    LOBBY,
    MODERATOR,
    MOMENT,
    PASS,
    START,
    Story,
    acting,
    back,
    consent,
    join,
    kinds,
    laptop,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    remove,
    revoke,
    running,
    said,
    seconds,
    user,
)


class TestJoin:
    def test_takes_a_seat_with_everything_switched_off(self) -> None:
        story = Story()
        events = story.when(join(ANNA), at=minutes(-5))
        assert said(events) == [joined(ANNA)]
        assert events[0].actor == acting(ANNA)
        participant = story.participant(ANNA)
        assert participant.is_present
        assert (participant.camera_enabled, participant.mic_enabled) == (False, False)
        assert not participant.recording_consent
        assert (participant.joined_at, participant.left_at) == (START + minutes(-5), None)

    def test_again_on_the_same_connection_changes_nothing(self) -> None:
        story = Story().given(join(ANNA))
        assert story.when(join(ANNA), at=minutes(-1)) == []

    def test_is_for_registered_users(self) -> None:
        story = Story()
        with pytest.raises(NotRegisteredError):
            story.when(join(ANNA, registered=False))
        assert not story.session.participants

    def test_a_registration_cancelled_meanwhile_does_not_cost_the_seat(self) -> None:
        story = Story().given(join(ANNA)).given(lose(ANNA))
        assert kinds(story.when(join(ANNA, registered=False), at=LOBBY + seconds(20))) == ["participant_reconnected"]

    def test_a_registration_cancelled_meanwhile_does_cost_a_new_one(self) -> None:
        story = Story().given(join(ANNA), leave(ANNA))
        with pytest.raises(NotRegisteredError):
            story.when(join(ANNA, registered=False))

    def test_works_in_a_running_session(self) -> None:
        assert said(running(ANNA, BEN).when(join(CLEO), at=minutes(12))) == [joined(CLEO)]


class TestSeats:
    def test_thirty_joins_on_eight_seats(self) -> None:
        story = Story()
        refused = 0
        for number in range(30):
            try:
                story.when(join(user(number)), at=minutes(-5))
            except RoomFullError:
                refused += 1
        assert refused == 22
        assert story.session.seats_taken == story.session.present_count == 8
        assert [body.user_id for body in story.of_kind(ParticipantJoined)] == [user(number) for number in range(8)]

    def test_a_full_room_lets_its_own_people_move(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), join(BEN), at=minutes(-5))
        assert story.when(join(ANNA)) == []
        assert kinds(story.when(join(ANNA, via=phone(ANNA)))) == ["participant_reconnected"]

    def test_a_seat_is_held_while_its_user_is_away(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), join(BEN), at=minutes(-5)).given(lose(BEN))
        with pytest.raises(RoomFullError, match="all 2 seats"):
            story.when(join(CLEO), at=minutes(-5) + GRACE - MOMENT)
        assert kinds(story.when(join(BEN))) == ["participant_reconnected"]

    def test_a_timeout_frees_it(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), join(BEN), at=minutes(-5)).given(lose(BEN))
        assert said(story.when(join(CLEO), at=minutes(-5) + GRACE)) == [joined(CLEO)]
        assert story.of_kind(ParticipantLeft) == [ParticipantLeft(user_id=BEN, reason=LeftReason.TIMEOUT)]
        with pytest.raises(RoomFullError):
            story.when(join(BEN))

    def test_leaving_frees_it(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), join(BEN), leave(BEN))
        assert said(story.when(join(CLEO))) == [joined(CLEO)]

    def test_removal_frees_it(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), join(BEN), remove(BEN))
        assert said(story.when(join(CLEO))) == [joined(CLEO)]


class TestLostConnection:
    def test_shows_at_once_and_says_until_when_the_seat_is_held(self) -> None:
        story = running(ANNA, BEN)
        events = story.when(lose(ANNA, reason=DisconnectReason.CONNECTION_LOST), at=minutes(3))
        assert said(events) == [
            ParticipantDisconnected(
                user_id=ANNA,
                reason=DisconnectReason.CONNECTION_LOST,
                reconnect_by=START + minutes(3) + GRACE,
            )
        ]
        assert events[0].actor == SYSTEM
        participant = story.participant(ANNA)
        assert (participant.presence, participant.left_at) == (Presence.AWAY, START + minutes(3))
        assert participant.holds_seat

    def test_without_return_becomes_a_timeout(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3))
        assert story.when(PASS, at=minutes(3) + GRACE - MOMENT) == []
        events = story.when(PASS, at=minutes(3) + GRACE)
        assert said(events) == [ParticipantLeft(user_id=ANNA, reason=LeftReason.TIMEOUT)]
        assert events[0].actor == SYSTEM
        participant = story.participant(ANNA)
        assert (participant.presence, participant.reconnect_by) == (Presence.GONE, None)
        assert participant.left_at == START + minutes(3), "absent since the loss, not since the timeout"

    def test_a_return_in_time_keeps_the_seat(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3))
        events = story.when(join(ANNA, via=phone(ANNA)), at=minutes(3) + GRACE - MOMENT)
        assert said(events) == [ParticipantReconnected(user_id=ANNA, connection_id=phone(ANNA))]
        participant = story.participant(ANNA)
        assert participant.is_present
        assert (participant.left_at, participant.reconnect_by) == (None, None)
        assert story.when(PASS, at=minutes(3) + GRACE) == []

    def test_after_the_timeout_it_is_a_fresh_join(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(3))
        assert said(story.when(join(ANNA), at=minutes(3) + GRACE)) == [joined(ANNA)]
        assert story.participant(ANNA).joined_at == START + minutes(-5), "the first join is remembered"

    def test_no_grace_means_no_held_seat(self) -> None:
        story = running(ANNA, BEN, reconnect_grace_seconds=0.0)
        assert kinds(story.when(lose(ANNA), at=minutes(3))) == ["participant_disconnected", "participant_left"]

    @pytest.mark.parametrize("grace", [0.0005, 1 / 3, 2.0004])
    def test_reconnect_by_is_in_whole_milliseconds_like_every_stored_time(self, grace: float) -> None:
        # The journal keeps milliseconds: a finer instant would differ between the live state and the replayed one.
        story = running(ANNA, BEN, reconnect_grace_seconds=grace)
        story.given(lose(ANNA), at=minutes(3))
        assert [body.reconnect_by.microsecond % 1000 for body in story.of_kind(ParticipantDisconnected)] == [0]

    def test_of_a_stranger_changes_nothing(self) -> None:
        story = running(ANNA, BEN)
        assert story.when(lose(CLEO)) == []

    def test_of_one_who_left_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA))
        assert story.when(lose(ANNA)) == []


class TestNewestConnectionWins:
    def test_it_takes_the_seat_over(self) -> None:
        story = running(ANNA, BEN)
        assert said(story.when(join(ANNA, via=phone(ANNA)))) == [
            ParticipantReconnected(user_id=ANNA, connection_id=phone(ANNA))
        ]
        assert story.participant(ANNA).connection_id == phone(ANNA)
        assert story.session.seats_taken == 2

    def test_a_late_loss_of_the_older_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(join(ANNA, via=phone(ANNA)))
        assert story.when(lose(ANNA, via=laptop(ANNA)), at=minutes(1)) == []
        assert story.participant(ANNA).is_present

    def test_a_late_loss_of_the_older_does_not_prolong_the_grace(self) -> None:
        story = running(ANNA, BEN).given(join(ANNA, via=phone(ANNA)), lose(ANNA, via=phone(ANNA)), at=minutes(1))
        assert story.when(lose(ANNA, via=laptop(ANNA)), at=minutes(1) + seconds(10)) == []
        assert story.deadline == minutes(1) + GRACE

    def test_leaving_through_the_older_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(join(ANNA, via=phone(ANNA)))
        assert story.when(leave(ANNA, via=laptop(ANNA))) == []
        assert story.participant(ANNA).is_present

    def test_the_older_can_no_longer_act(self) -> None:
        story = running(ANNA, BEN).given(join(ANNA, via=phone(ANNA)))
        for command in (media(ANNA, mic=True), consent(ANNA), revoke(ANNA)):
            with pytest.raises(NotInSessionError, match="newer connection"):
                story.when(command)

    def test_the_older_can_take_it_back(self) -> None:
        story = running(ANNA, BEN).given(join(ANNA, via=phone(ANNA)))
        assert said(story.when(join(ANNA))) == [ParticipantReconnected(user_id=ANNA, connection_id=laptop(ANNA))]


class TestLeave:
    def test_frees_the_seat(self) -> None:
        story = running(ANNA, BEN)
        events = story.when(leave(ANNA), at=minutes(4))
        assert said(events) == [ParticipantLeft(user_id=ANNA, reason=LeftReason.LEFT)]
        assert events[0].actor == acting(ANNA)
        participant = story.participant(ANNA)
        assert (participant.presence, participant.left_at) == (Presence.GONE, START + minutes(4))

    def test_twice_or_without_a_seat_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA))
        assert story.when(leave(ANNA)) == []
        assert story.when(leave(CLEO)) == []

    def test_also_ends_the_wait_for_one_who_is_away(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), at=minutes(4))
        assert said(story.when(leave(ANNA), at=minutes(4) + seconds(5))) == [
            ParticipantLeft(user_id=ANNA, reason=LeftReason.LEFT)
        ]
        assert story.participant(ANNA).left_at == START + minutes(4)
        assert story.participant(ANNA).reconnect_by is None


class TestMedia:
    def test_camera_and_microphone_are_switched_apart(self) -> None:
        story = running(ANNA, BEN)
        assert said(story.when(media(ANNA, camera=True))) == [CameraChanged(user_id=ANNA, camera_enabled=True)]
        assert said(story.when(media(ANNA, mic=True))) == [MicChanged(user_id=ANNA, mic_enabled=True)]
        assert said(story.when(media(ANNA, camera=False, mic=True))) == [
            CameraChanged(user_id=ANNA, camera_enabled=False)
        ]
        assert said(story.when(media(ANNA, camera=True, mic=False))) == [
            CameraChanged(user_id=ANNA, camera_enabled=True),
            MicChanged(user_id=ANNA, mic_enabled=False),
        ]

    def test_what_already_is_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, camera=True))
        assert story.when(media(ANNA, camera=True, mic=False)) == []
        assert story.when(media(ANNA)) == []

    def test_works_in_the_lobby(self) -> None:
        assert kinds(Story().given(join(ANNA)).when(media(ANNA, camera=True))) == ["camera_changed"]

    def test_survives_a_reconnection(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, camera=True, mic=True), lose(ANNA), at=minutes(1))
        story.given(join(ANNA, via=phone(ANNA)), at=minutes(1) + seconds(20))
        assert (story.participant(ANNA).camera_enabled, story.participant(ANNA).mic_enabled) == (True, True)

    def test_survives_the_move_to_another_connection(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, camera=True), join(ANNA, via=phone(ANNA)))
        assert (story.participant(ANNA).camera_enabled, story.participant(ANNA).mic_enabled) == (True, False)

    @pytest.mark.parametrize("departure", [leave(ANNA), lose(ANNA)], ids=["left", "timed out"])
    def test_is_off_after_a_fresh_join(self, departure: Command) -> None:
        story = running(ANNA, BEN).given(media(ANNA, camera=True, mic=True)).given(departure, at=minutes(1))
        assert said(story.when(join(ANNA), at=minutes(2))) == [joined(ANNA)]
        assert (story.participant(ANNA).camera_enabled, story.participant(ANNA).mic_enabled) == (False, False)

    def test_is_for_those_present(self) -> None:
        story = running(ANNA, BEN, CLEO).given(lose(ANNA), leave(BEN), remove(CLEO))
        for who in (ANNA, BEN, CLEO, DINA):
            with pytest.raises(NotInSessionError, match="join it first"):
                story.when(media(who, mic=True))


class TestMute:
    def test_turns_the_microphone_off(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, mic=True, camera=True))
        events = story.when(mute(ANNA))
        assert said(events) == [MicChanged(user_id=ANNA, mic_enabled=False)]
        assert events[0].actor == MODERATOR
        assert story.participant(ANNA).camera_enabled

    def test_never_turns_it_on(self) -> None:
        story = running(ANNA, BEN)
        assert story.when(mute(ANNA)) == []
        story.given(media(ANNA, mic=True), mute(ANNA))
        assert story.when(mute(ANNA)) == []
        assert not story.participant(ANNA).mic_enabled

    def test_does_not_last(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, mic=True), mute(ANNA))
        assert said(story.when(media(ANNA, mic=True))) == [MicChanged(user_id=ANNA, mic_enabled=True)]

    def test_reaches_one_who_is_away(self) -> None:
        story = running(ANNA, BEN).given(media(ANNA, mic=True), lose(ANNA), mute(ANNA), join(ANNA))
        assert not story.participant(ANNA).mic_enabled

    def test_is_for_those_with_a_seat(self) -> None:
        story = running(ANNA, BEN, CLEO).given(leave(ANNA), remove(BEN))
        for who in (ANNA, BEN, DINA):
            with pytest.raises(NotInSessionError, match=who):
                story.when(mute(who))


class TestRemove:
    def test_says_so_with_the_moderators_message(self) -> None:
        story = running(ANNA, BEN)
        events = story.when(remove(ANNA, "be kind"), at=minutes(2))
        assert said(events) == [ParticipantLeft(user_id=ANNA, reason=LeftReason.REMOVED, message="be kind")]
        assert events[0].actor == MODERATOR
        assert story.participant(ANNA).presence is Presence.REMOVED
        assert story.participant(ANNA).left_at == START + minutes(2)

    def test_is_for_the_rest_of_the_session(self) -> None:
        story = running(ANNA, BEN, CLEO).given(remove(ANNA))
        for at in (minutes(1), minutes(20)):
            for via in (laptop(ANNA), phone(ANNA)):
                with pytest.raises(RemovedError):
                    story.when(join(ANNA, via=via), at=at)
        assert story.participant(ANNA).presence is Presence.REMOVED

    def test_wins_over_a_missing_registration_and_a_full_room(self) -> None:
        story = Story(max_participants=2).given(join(ANNA), remove(ANNA), join(BEN), join(CLEO))
        with pytest.raises(RemovedError):
            story.when(join(ANNA, registered=False))

    def test_twice_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(remove(ANNA))
        assert story.when(remove(ANNA, "again")) == []

    def test_reaches_those_who_are_away_or_have_left(self) -> None:
        story = running(ANNA, BEN, CLEO).given(lose(ANNA), leave(BEN))
        for who in (ANNA, BEN):
            assert kinds(story.when(remove(who))) == ["participant_left"]
            with pytest.raises(RemovedError):
                story.when(join(who))
        assert story.when(PASS, at=GRACE) == [], "no seat is held for the removed"

    def test_needs_someone_to_remove(self) -> None:
        with pytest.raises(NotInSessionError, match="never"):
            running(ANNA, BEN).when(remove(CLEO))

    def test_a_late_loss_or_leave_changes_nothing(self) -> None:
        story = running(ANNA, BEN).given(remove(ANNA))
        assert story.when(lose(ANNA)) == []
        assert story.when(leave(ANNA)) == []


def test_a_connection_that_was_not_gone_after_all_takes_its_seat_back() -> None:
    story = running(ANNA, BEN).given(media(ANNA, mic=True), lose(ANNA), at=minutes(1))
    (event,) = story.when(back(ANNA))
    assert event.body == ParticipantReconnected(user_id=ANNA, connection_id=laptop(ANNA))
    assert event.actor == acting(ANNA)
    assert story.session.participants[ANNA].mic_enabled
    assert story.when(back(ANNA)) == []


def test_a_seat_that_is_held_otherwise_or_free_is_not_taken_back() -> None:
    elsewhere = running(ANNA, BEN).given(lose(ANNA), join(ANNA, via=phone(ANNA)), at=minutes(1))
    assert elsewhere.when(back(ANNA)) == []
    away_elsewhere = elsewhere.given(lose(ANNA, via=phone(ANNA)))
    assert away_elsewhere.when(back(ANNA)) == []
    left = running(ANNA, BEN).given(leave(ANNA), at=minutes(1))
    assert left.when(back(ANNA)) == []
    removed = running(ANNA, BEN).given(lose(ANNA), remove(ANNA), at=minutes(1))
    assert removed.when(back(ANNA)) == []
    assert running(ANNA, BEN).when(back(CLEO), at=minutes(1)) == []


def test_a_connection_that_comes_back_too_late_finds_its_seat_free() -> None:
    story = running(ANNA, BEN).given(lose(ANNA), at=minutes(1))
    assert story.when(back(ANNA), at=minutes(1) + GRACE) == []
    assert story.log[-1].body == ParticipantLeft(user_id=ANNA, reason=LeftReason.TIMEOUT)
