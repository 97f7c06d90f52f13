"""`/users/{userId}/consents`: when a user agreed to be recorded, and when no longer (SPEC sections 2 and 4).

Owns how a consent history is shown; what it consists of is the service's.
"""

from http import HTTPStatus
from typing import Any

from msgspec import UNSET, UnsetType

from coordinator.domain.errors import ForbiddenError
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.ledger import wire_time
from coordinator.protocol import views
from coordinator.protocol.fields import CURSOR_SEQ_DIGITS
from coordinator.protocol.requests import NoBody, OneUser, UserConsents
from coordinator.services.consents import Consents, Place
from coordinator.transports.rest.access import check_acts_for
from coordinator.transports.rest.operations import API, Answer, Call, Operation, Outcome, Tag

_CONSENTS = f"{API}/users/{{userId}}/consents"
_DISPOSITION = "Content-Disposition"
_FILE = 'attachment; filename="consents.json"'


class ConsentOperations:
    """What can be read about a user's consents."""

    def __init__(self, consents: Consents) -> None:
        self._consents = consents

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="GET",
                path=_CONSENTS,
                name="findUserConsents",
                summary="Find the consents of a user",
                tag=Tag.CONSENTS,
                handler=self.find,
                parameters=UserConsents,
                body=NoBody,
                outcomes={HTTPStatus.OK: Outcome(meaning="A page of consents.", view=views.Consents)},
                refusals=(ForbiddenError,),
            ),
            Operation(
                method="GET",
                path=f"{_CONSENTS}.json",
                name="exportUserConsents",
                summary="Download the consent history of a user",
                tag=Tag.CONSENTS,
                handler=self.export,
                parameters=OneUser,
                body=NoBody,
                outcomes={
                    HTTPStatus.OK: Outcome(
                        meaning="The whole history.", view=views.ConsentHistory, headers=(_DISPOSITION,)
                    )
                },
                refusals=(ForbiddenError,),
            ),
        ]

    async def find(self, call: Call[UserConsents, NoBody]) -> Answer:
        """Find every grant and revocation of a user's consent to be recorded, in all sessions whose journal is kept.

        They come by session, the oldest first, and there in the order in which they happened. A page with a `next` may
        be short. A participant is shown only its own.
        """
        wanted = call.parameters
        user_id = UserId(wanted.user_id)
        check_acts_for(call.identity, user_id)
        page = await self._consents.page(user_id, _place_of(wanted.cursor), wanted.limit)
        items = [views.consent_view(item.event, item.commit_hash) for item in page.items]
        following = UNSET if page.next is None else f"{page.next.session_id}{page.next.seq:0{CURSOR_SEQ_DIGITS}x}"
        return Answer(content=views.Consents(items=items, next=following))

    async def export(self, call: Call[OneUser, NoBody]) -> Answer:
        """Download every grant and revocation of a user's consent to be recorded, to keep and to check later.

        `sessions` has every session that the user has a part in, those without any consent too, and where its journal
        ended when it was read: that it still begins like this can be proved. A participant is shown only its own.
        """
        user_id = UserId(call.parameters.user_id)
        check_acts_for(call.identity, user_id)
        history = await self._consents.history(user_id)
        view = views.ConsentHistory(
            user_id=user_id,
            exported_at=wire_time(history.exported_at),
            items=[views.consent_view(item.event, item.commit_hash) for item in history.items],
            sessions=[
                views.JournalHead(session_id=session_id, seq=head.seq, head_hash=head.hash, commits=head.commits)
                for session_id, head in history.sessions
            ],
        )
        return Answer(content=view, headers={_DISPOSITION: _FILE})


def _place_of(cursor: str | UnsetType) -> Place | None:
    if not isinstance(cursor, str):
        return None
    return Place(SessionId(cursor[:24]), int(cursor[24:], 16))
