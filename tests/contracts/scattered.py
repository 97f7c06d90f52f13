"""What a router of a sharded cluster asks of every shard, were every collection sharded by its key: the whole list.

A query that is asked for every command, join or signal must not be here.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """A query without its shard key: where it is asked."""

    collection: str
    operation: str
    fields: str


class Scattered(NamedTuple):
    """Why a query may go to every shard.

    Attributes:
        how_often: How often it is asked.
        why: Why that is right.
    """

    how_often: str
    why: str


_STARTS = "at start-up and when a node dies"
_SECOND = "each second on each node"
_REQUEST = "for a request of the HTTP API"
_TOOL = "for a command: verify, erase, consumers"
_SWEEP = "every ten minutes on each node"
_DUE = "a range of an index that is nearly always empty, on each shard"
_WHOLE = "these collections stay whole: it is one query to one shard"

SCATTERED: dict[Place, Scattered] = {
    Place("events", "Journal.written", "_id"): Scattered(
        "when the outcome of a write is unknown", "found by `_id` on each shard; the database has just been away"
    ),
    Place("events", "Journal.session_ids", ""): Scattered(_TOOL, "all is to be read; also a feed consumer that is new"),
    Place("events", "Journal.expired", "at seq sessionId"): Scattered(_SWEEP, "bounded by an index, with a limit"),
    Place("events", "CommitStream.open", "$changeStream"): Scattered(
        "once for each node that has recorders", "it is the stream of all commits"
    ),
    Place("participants", "Projections.participants", "sessionId"): Scattered(_REQUEST, "rooms do not read documents"),
    Place("participants", "Projections.rebuild_participants", "_id sessionId"): Scattered(_TOOL, "repairs and erasure"),
    Place("participants", "Projections.rebuild", "_id sessionId"): Scattered(_TOOL, "repairs"),
    Place("participants", "Projections.discard", "sessionId"): Scattered(_SWEEP, "once for each session that expires"),
    Place("participants", "Projections.session_ids", ""): Scattered(_TOOL, "all is to be read"),
    Place("participants", "Projections.sessions_of", "userId"): Scattered(_REQUEST, "a user's consents; and erasure"),
    Place("participants", "Projections.sessions_of", "sessionId userId"): Scattered(_REQUEST, "its further pages"),
    Place("registrations", "Bookings.slots_of", "status userId"): Scattered(
        "when somebody registers", "whether the slot overlaps another of the user's, in whichever slots these are"
    ),
    Place("registrations", "Bookings.page", "userId"): Scattered(_REQUEST, "a user's own registrations"),
    Place("registrations", "Bookings.page", "_id status userId"): Scattered(_REQUEST, "a user's own registrations"),
    Place("registrations", "Bookings.rename", "userId"): Scattered(_TOOL, "erasure"),
    Place("sessions", "Projections.session_ids", ""): Scattered(_TOOL, "all is to be read"),
    Place("sessions", "Projections.live", "status"): Scattered(_STARTS, "there are few live ones on each shard"),
    Place("sessions", "Projections.due", "nextDeadline"): Scattered(_SECOND, _DUE),
    Place("sessions", "Projections.page", "createdAt"): Scattered(_REQUEST, "a list of sessions"),
    Place("sessions", "Projections.page", "_id createdAt"): Scattered(_REQUEST, "a list of sessions"),
    Place("sessions", "Projections.page", "timeSlotId"): Scattered(_REQUEST, "the session of a slot"),
    Place("sessions", "Projections.page", "status targetLanguageCode"): Scattered(
        f"{_REQUEST}; each second where a moderator watches all sessions", "the live ones, by an index"
    ),
    Place("timeslots", "Catalog.page", "startTime"): Scattered(_REQUEST, _WHOLE),
    Place("timeslots", "Catalog.page", "_id startTime"): Scattered(_REQUEST, _WHOLE),
    Place("timeslots", "Catalog.page", "seriesId startTime"): Scattered(_REQUEST, _WHOLE),
    Place("timeslots", "Catalog.page", "isActive level startTime targetLanguageCode"): Scattered(_REQUEST, _WHOLE),
    Place("timeslots", "Catalog.active_slots", "isActive startTime"): Scattered(_SECOND, _WHOLE),
    Place("timeslots", "Catalog.unsettled", "settleAt"): Scattered(_SECOND, _WHOLE),
    Place("timeslots", "Catalog.slots_to_adopt", "isActive recurrence seriesId"): Scattered(
        "every ten seconds", _WHOLE
    ),
    Place("series", "Catalog.due_series", "nextStart"): Scattered("every ten seconds on each node", _WHOLE),
    Place("nodes", "Liveness.heartbeats", ""): Scattered(f"{_SECOND}, and for /readyz", f"a few documents; {_WHOLE}"),
    Place("consumers", "Consumers.all", ""): Scattered(_TOOL, _WHOLE),
    Place("consumers", "Consumers.forget_sessions", ""): Scattered(_SWEEP, _WHOLE),
    Place("marks", "Consumers.forget_sessions", "sessionId"): Scattered(_SWEEP, "by an index over `sessionId`"),
}
"""Every query that a router sends to all shards, were every collection sharded by its key."""

PERIODIC = {("sessions", "nextDeadline"), ("sessions", "status targetLanguageCode"), ("sessions", "status")}
"""What ticks ask of the busy collections beside whatever goes on: collection and fields."""
