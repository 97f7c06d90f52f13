"""A session as the referee understands it: a small reading of SPEC section 2, made from events alone.

Owns what is so after each event, and what must happen next because of it. Written a second time on purpose: it shares
the events' form with `coordinator.domain`, and none of its rules.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from coordinator.domain.events import PermissionReason, SessionOpened
from coordinator.domain.ids import ConnectionId, SessionId, SlotId, UserId


class Phase(StrEnum):
    """Where a session stands."""

    UNOPENED = "unopened"
    WAITING = "waiting"
    ACTIVE = "active"
    ENDED = "ended"


class Place(StrEnum):
    """Where a user who has joined at least once stands."""

    PRESENT = "present"
    AWAY = "away"
    GONE = "gone"
    REMOVED = "removed"
    ERASED = "erased"


CAMERA, MIC, CONSENT = "camera_enabled", "mic_enabled", "recording_consent"
"""The switches of a participant, named like the fields of its document."""


def length(seconds: float) -> timedelta:
    """A length of time, in the whole milliseconds in which times are stored."""
    return timedelta(milliseconds=round(seconds * 1000))


@dataclass(slots=True)
class Part:
    """A user's part in a session.

    Attributes:
        place: Where the user stands.
        connection: The connection that holds the seat, or held it last.
        policy: The policy of the last consent or revocation.
        reconnect_by: Until when the seat is held; set only while away.
        lost_at: The referee's time at which the connection was last declared gone.
        permitted_since: Set while a permission to record stands.
        recordable: Past times during which one stood; the end is outside.
        switched: Every setting of a switch, as (seq, switch, value).
    """

    place: Place
    connection: ConnectionId
    switches: dict[str, bool]
    policy: str | None = None
    reconnect_by: datetime | None = None
    lost_at: datetime | None = None
    permitted_since: datetime | None = None
    recordable: list[tuple[datetime, datetime]] = field(default_factory=list)
    switched: list[tuple[int, str, bool]] = field(default_factory=list)

    @property
    def holds_seat(self) -> bool:
        return self.place is Place.PRESENT or self.place is Place.AWAY

    def switch(self, seq: int, name: str, value: bool) -> None:
        """Note a switch as it is from event `seq` on."""
        self.switches[name] = value
        self.switched.append((seq, name, value))

    def switch_at(self, seq: int, name: str) -> bool | None:
        """Return how a switch stood after event `seq`; None if the user had not joined by then."""
        for since, switch, value in reversed(self.switched):
            if switch == name and since <= seq:
                return value
        return None

    def could_be_recorded(self, instant: datetime) -> bool:
        """Tell whether a permission stood at an instant that is not in the future."""
        if self.permitted_since is not None and self.permitted_since <= instant:
            return True
        return any(start <= instant < end for start, end in self.recordable)


@dataclass(slots=True)
class SessionModel:
    """A session after its last event.

    Attributes:
        session_id: Which.
        phase: Where it stands.
        opening: The event that opened it, with its rules; None before.
        is_recording: Whether recording is enabled.
        parts: Everybody who ever joined.
        owners: Whose each connection is that ever held a seat.
        empty_since: Set while it is active with nobody present.
        attached: The recordings, by user and address.
        next_due: When it must change by itself; None if it need not.
        owed: Users whose permission must change before anything else may happen, and why.
        leaving: Users who must leave with the session, in the same commit.
        ended_seq: The event that ended it.
    """

    session_id: SessionId
    phase: Phase = Phase.UNOPENED
    opening: SessionOpened | None = None
    is_recording: bool = False
    parts: dict[UserId, Part] = field(default_factory=dict)
    owners: dict[ConnectionId, UserId] = field(default_factory=dict)
    empty_since: datetime | None = None
    attached: set[tuple[UserId, str]] = field(default_factory=set)
    next_due: datetime | None = None
    owed: dict[UserId, PermissionReason] = field(default_factory=dict)
    leaving: set[UserId] = field(default_factory=set)
    ended_seq: int | None = None

    @property
    def rules(self) -> SessionOpened:
        """Its rules; it has been opened."""
        assert self.opening is not None
        return self.opening

    @property
    def slot_id(self) -> SlotId:
        """Its slot; it has been opened."""
        return self.rules.time_slot_id

    @property
    def is_live(self) -> bool:
        return self.phase is Phase.WAITING or self.phase is Phase.ACTIVE

    @property
    def present(self) -> int:
        """How many are present."""
        return sum(part.place is Place.PRESENT for part in self.parts.values())

    @property
    def seats_taken(self) -> int:
        """How many seats are taken, those held for users who are away included."""
        return sum(part.holds_seat for part in self.parts.values())

    def is_to_be_permitted(self, part: Part) -> bool:
        """Tell whether a user may be recorded now: active, recording, connected, consenting."""
        return (
            self.phase is Phase.ACTIVE and self.is_recording and part.place is Place.PRESENT and part.switches[CONSENT]
        )

    def owe(self, reason: PermissionReason) -> None:
        """Note whose permission must change because of what has just happened."""
        for user, part in self.parts.items():
            if (part.permitted_since is not None) is not self.is_to_be_permitted(part):
                self.owed[user] = reason

    def start_due(self) -> datetime | None:
        """Return since when the session should be active; None if it need not."""
        is_due = self.phase is Phase.WAITING and self.present >= self.rules.min_participants
        return self.rules.scheduled_start if is_due else None

    def empty_due(self) -> datetime | None:
        """Return when the session is over for want of people; None while there are any."""
        return None if self.empty_since is None else self.empty_since + length(self.rules.empty_timeout_seconds)

    def reckon(self, at: datetime) -> None:
        """Find out anew what stands after an event at `at` that moved somebody, or the session."""
        if not self.is_live:
            self.empty_since = self.next_due = None
            return
        if self.phase is Phase.ACTIVE and self.present == 0:
            self.empty_since = self.empty_since or at
        else:
            self.empty_since = None
        end = self.rules.no_show_at if self.phase is Phase.WAITING else self.rules.scheduled_end
        dues = [end, self.start_due(), self.empty_due(), *(part.reconnect_by for part in self.parts.values())]
        self.next_due = min(due for due in dues if due is not None)
