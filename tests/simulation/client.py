"""A client's side of its connection: what it asks, what it is told, and where it stands in each session.

Owns the resume logic that every client needs: apply events in order, remember the last `seq`, go on after it. What it
wants to do stands in `people`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec.structs import replace

from coordinator.domain.errors import CoordinatorError
from coordinator.domain.events import Actor
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import SealedEvent
from coordinator.services.catching_up import View
from tests.simulation.links import Link, Side
from tests.simulation.server import Answer, Farewell, Notice, Request, Told, Welcome

PATIENCE_SECONDS = 8.0
"""After this without an answer, a client takes its connection for useless."""
_WELCOME_SECONDS = 2.0


class GoneError(Exception):
    """The connection is gone, or useless."""


class Witness(Protocol):
    """Hears what clients are told."""

    def saw(self, client: str, session_id: SessionId, sealed: SealedEvent) -> None:
        """An event was taken."""

    def took_view(self, client: str, session_id: SessionId, view: View) -> None:
        """A view was taken."""

    def acked(self, session_id: SessionId, user: UserId, command: str, seq: int, asked: Mapping[str, bool]) -> None:
        """A command was acked."""

    def step(self, who: str, what: str, *details: Any) -> None:
        """Something was done or told."""


class Client:
    """Someone with an app or a browser tab, over any number of connections.

    Args:
        name: What it is called in stories.
        actor: Who it is.
        witness: Hears what it is told.

    Attributes:
        session_id: The session that commands without one are about.
        positions: The `seq` up to which it knows each session.
        listening: The session that it is being told of, by the present connection.
        farewell: What the node said when it closed the last connection.
    """

    def __init__(self, name: str, actor: Actor, witness: Witness) -> None:
        self.name = name
        self.actor = actor
        self.witness = witness
        self.session_id: SessionId | None = None
        self.positions: dict[SessionId, int] = {}
        self.listening: dict[SessionId, None] = {}
        self.farewell: Farewell | None = None
        self.connection: ClientConnection | None = None

    @property
    def hears(self) -> bool:
        """Whether what a node says reaches it."""
        connection = self.connection
        return connection is not None and not connection.is_gone and not connection.is_cut

    def forget(self) -> None:
        """Know nothing any more, as after the page was loaded anew."""
        self.positions.clear()

    async def connect(self, connection: "ClientConnection") -> None:
        """Wait for the node's welcome.

        Raises:
            GoneError: It does not come.
        """
        self.connection = connection
        self.farewell = None
        self.listening.clear()
        await connection.answered(connection.welcome, _WELCOME_SECONDS)

    async def ask(self, name: str, **payload: Any) -> Any:
        """Ask something and return the answer.

        Raises:
            CoordinatorError: It is refused.
            GoneError: No answer comes.
        """
        assert self.connection is not None
        self.witness.step(self.name, f"asks {name}", *payload.values())
        outcome = await self.connection.ask(name, payload)
        if isinstance(outcome, CoordinatorError):
            raise outcome
        return outcome

    def take(self, connection: "ClientConnection", message: Any) -> None:
        """Take what the node says, in order."""
        if connection is not self.connection:
            return
        match message:
            case Told(sealed):
                event = sealed.event
                self.witness.step(self.name, "hears", event.seq, event.body.kind)
                self.witness.saw(self.name, event.session_id, sealed)
                self.positions[event.session_id] = event.seq
            case Farewell(reason, _):
                self.witness.step(self.name, "is closed:", reason)
                self.farewell = message
            case Notice(name, _):
                self.witness.step(self.name, "gets", name)
            case _:
                pass

    def take_answer(self, request: Request, outcome: Any) -> None:
        """Take an answer, before anything that is told after it."""
        refusal = outcome.code if isinstance(outcome, CoordinatorError) else None
        if isinstance(outcome, View):
            shown = "a snapshot of" if outcome.events is None else f"{len(outcome.events)} events up to"
            self.witness.step(self.name, f"is answered {request.name}:", shown, outcome.seq)
            self.witness.took_view(self.name, outcome.session_id, self._what_is_new_in(outcome))
            self.positions[outcome.session_id] = outcome.seq
            self.listening[outcome.session_id] = None
            self._acked(request, outcome.session_id, outcome.seq)
        else:
            self.witness.step(self.name, f"is answered {request.name}:", outcome if refusal is None else refusal)
            if isinstance(outcome, int):
                self._acked(request, request.payload.get("session_id"), outcome)
                if request.name == "leave":
                    self.listening.clear()

    def _what_is_new_in(self, view: View) -> View:
        """Leave out what was told between the question and the answer."""
        position = self.positions.get(view.session_id, 0)
        if view.events is None:
            return view
        return replace(view, events=[sealed for sealed in view.events if sealed.event.seq > position])

    def _acked(self, request: Request, session_id: SessionId | None, seq: int) -> None:
        session_id = session_id or self.session_id
        assert session_id is not None
        self.witness.acked(session_id, self.actor.user_id, request.name, seq, _asked(request))


def _asked(request: Request) -> Mapping[str, bool]:
    names = {"camera": "camera_enabled", "mic": "mic_enabled", "granted": "recording_consent"}
    return {names[key]: value for key, value in request.payload.items() if key in names}


class ClientConnection(Side):
    """One connection, from the client's side.

    Attributes:
        link: The way to the node.
        welcome: The connection's name, once the node has taken it.
        is_gone: Whether it is closed, or the other side is.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.link: Link | None = None
        self.welcome: asyncio.Future[ConnectionId] = asyncio.get_running_loop().create_future()
        self.is_gone = False
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked: dict[int, tuple[Request, asyncio.Future[Any]]] = {}
        self._requests = 0

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets through, though nobody may know yet."""
        return self.link is None or self.link.is_broken

    async def ask(self, name: str, payload: Mapping[str, Any]) -> Any:
        """Ask something and return the answer, a refusal included.

        Raises:
            GoneError: No answer comes.
        """
        if self.is_gone:
            raise GoneError
        assert self.link is not None
        self._requests += 1
        request = Request(self._requests, name, payload)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[request.number] = request, answer
        self.link.send_up(request)
        return await self.answered(answer, PATIENCE_SECONDS)

    async def answered(self, answer: "asyncio.Future[Any]", seconds: float) -> Any:
        """Wait for an answer, at most so long.

        Raises:
            GoneError: It does not come.
        """
        await asyncio.wait((answer, self._gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise GoneError
        return answer.result()

    async def gone(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            GoneError: The connection has gone meanwhile.
        """
        await asyncio.wait((self._gone,), timeout=seconds)
        if self.is_gone:
            raise GoneError

    def receive(self, message: Any) -> None:
        """Take what the node says."""
        if self.is_gone:
            return
        if isinstance(message, Welcome):
            self.welcome.set_result(message.connection_id)
        elif isinstance(message, Answer):
            request, answer = self._asked.pop(message.number)
            self._client.take_answer(request, message.outcome)
            if not answer.done():
                answer.set_result(message.outcome)
        else:
            self._client.take(self, message)

    def lost(self) -> None:
        """Learn that the node is gone, or has closed the connection."""
        if not self.is_gone:
            self.is_gone = True
            self._gone.set_result(None)
            self._client.listening.clear()

    def hang_up(self) -> None:
        """Close it."""
        if not self.is_gone:
            self.lost()
            assert self.link is not None
            self.link.hang_up()
