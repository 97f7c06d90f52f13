"""How the data model is written in MongoDB (SPEC section 1): ids as ObjectIds, times as dates, None as nothing.

Owns the conversion of slots, series, registrations, sessions and participants; must not know how documents are looked
up. Reading is more tolerant than writing: fields with a default may be missing, and unknown fields are passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from bson import ObjectId

from coordinator.adapters.mongo.client import Document
from coordinator.domain.ids import SessionId, UserId, participant_id
from coordinator.domain.model import Model, Participant, Registration, Series, Session, TimeSlot
from coordinator.telemetry import get_logger

_AnyModel = TypeVar("_AnyModel", bound=Model)
_Anything = TypeVar("_Anything")

_log = get_logger("documents")

_REFERENCES = ("timeSlotId", "sessionId", "seriesId")


class ListReader:
    """Reads what a query found, and passes over what cannot be read, which is logged once.

    Documents that were put in before there was a validator, or past it, must not keep all others from being seen.

    Args:
        collection: Its name, for the log.
    """

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._told: set[str] = set()

    def read(self, found: Sequence[Document], read: Callable[[Document], _Anything]) -> list[_Anything]:
        """Return those of the documents that can be read."""
        models = []
        for document in found:
            try:
                models.append(read(document))
            except (ValueError, TypeError, KeyError) as error:  # msgspec.ValidationError is a ValueError
                self._tell(str(document.get("_id")), error)
        return models

    def _tell(self, key: str, error: Exception) -> None:
        if key not in self._told:
            self._told.add(key)
            _log.error("document_unreadable", collection=self._collection, id=key, error=str(error))


def slot_document(slot: TimeSlot) -> Document:
    """Write a slot."""
    return _write(slot)


def read_slot(document: Mapping[str, Any]) -> TimeSlot:
    """Read a slot."""
    return _read(document, TimeSlot)


def series_document(series: Series) -> Document:
    """Write a series; without a pending change the field is absent, and so is what that leaves as it is."""
    document = _write(series)
    pending = {name: value for name, value in document.pop("pending", {}).items() if value is not None}
    return {**document, "pending": pending} if pending else document


def read_series(document: Mapping[str, Any]) -> Series:
    """Read a series."""
    return _read(document, Series)


def registration_document(registration: Registration) -> Document:
    """Write a registration."""
    return _write(registration)


def read_registration(document: Mapping[str, Any]) -> Registration:
    """Read a registration."""
    return _read(document, Registration)


def session_document(session: Session) -> Document:
    """Write a session; without recordings the field is absent."""
    document = _write(session)
    if not session.recordings:
        del document["recordings"]
    return document


def read_session(document: Mapping[str, Any]) -> Session:
    """Read a session."""
    return _read(document, Session)


def participant_document(participant: Participant) -> Document:
    """Write a participant, under the id that this user in this session always has."""
    document = _write(participant)
    document["_id"] = participant_key(participant.session_id, participant.user_id)
    return document


def read_participant(document: Mapping[str, Any]) -> Participant:
    """Read a participant."""
    return _read(document, Participant)


def participant_key(session_id: SessionId, user_id: UserId) -> ObjectId:
    """Return the `_id` of a participant document: derived, so no further unique index is needed."""
    return ObjectId(participant_id(session_id, user_id))


def _write(model: Model) -> Document:
    plain: dict[str, Any] = msgspec.to_builtins(model, builtin_types=(datetime,))
    document = {name: value for name, value in plain.items() if value is not None}
    if "id" in document:
        document = {"_id": ObjectId(document.pop("id")), **document}
    for name in _REFERENCES:
        if name in document:
            document[name] = ObjectId(document[name])
    return document


def _read(document: Mapping[str, Any], model: type[_AnyModel]) -> _AnyModel:
    present = {name: value for name, value in document.items() if value is not None}
    plain = {name: str(value) if isinstance(value, ObjectId) else value for name, value in present.items()}
    plain["id"] = plain.pop("_id")
    return msgspec.convert(plain, model)
