"""What people do in a simulated story: participants come, talk, lose their connection, come back; moderators watch.

Owns who wants what and when. How to stay up to date over broken connections stands in `client`.
"""

import asyncio
from abc import ABC, abstractmethod
from random import Random
from typing import Protocol

from coordinator.domain.errors import (
    CoordinatorError,
    NotFoundError,
    NotInSessionError,
    RoomFullError,
    SessionNotOpenError,
)
from coordinator.domain.events import Actor, Role
from coordinator.domain.ids import SessionId, SlotId, UserId
from tests.simulation.client import Client, ClientConnection, GoneError, Witness
from tests.simulation.links import PING_TIMEOUT_SECONDS
from tests.simulation.node import Node

_MAY_PASS = (RoomFullError, SessionNotOpenError, NotFoundError)
"""Refusals of a join after which it is worth trying again."""
_MOST_TABS = 3


class Surroundings(Protocol):
    """What people see of the world."""

    @property
    def is_closing(self) -> bool:
        """Whether it is time to go home."""

    @property
    def fickleness(self) -> float:
        """The share of those whose connection is gone who do not come back."""

    def find_node(self, random: Random) -> Node | None:
        """Return a node as a load balancer would choose it, or None if there is none."""

    def session_of(self, slot: SlotId) -> SessionId | None:
        """Return the session of a slot, once it has one."""

    def users_of(self, slot: SlotId) -> list[UserId]:
        """Return who may be in a slot's session."""

    def arrive(self, visitor: "Visitor") -> None:
        """Let somebody begin to live."""


class Person:
    """Somebody with a client.

    Args:
        name: What the client is called in stories.
        actor: Who it is.
        world: What it sees.
        witness: Hears what the client is told.
        random: Where chance comes from.
        restless: How much happens: actions in each second.

    Attributes:
        client: The client.
    """

    def __init__(
        self, name: str, actor: Actor, world: Surroundings, witness: Witness, random: Random, restless: float
    ) -> None:
        self.client = Client(name, actor, witness)
        self.world = world
        self.random = random
        self.restless = restless

    async def _connect(self) -> ClientConnection | None:
        node = self.world.find_node(self.random)
        if node is None:
            return None
        connection = ClientConnection(self.client)
        connection.link = node.knock(connection, self.client.actor, self.random)
        self.client.witness.step(self.client.name, "connects to", node.id)
        try:
            await self.client.connect(connection)
        except GoneError:
            connection.hang_up()
            return None
        return connection

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(self.random.random() * 2 * seconds)

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while, on the connection.

        Raises:
            GoneError: The connection has gone meanwhile.
        """
        assert self.client.connection is not None
        await self.client.connection.gone(seconds)

    async def think(self) -> None:
        """Do nothing until the next idea."""
        await self.pause(self.random.expovariate(self.restless))

    async def try_to(self, name: str, **payload: object) -> bool:
        """Ask something; tell whether it was granted.

        Raises:
            GoneError: The connection has gone.
        """
        try:
            await self.client.ask(name, **payload)
        except CoordinatorError:
            return False
        return True

    def tear(self) -> None:
        """Lose the connection; one side or the other learns of it at once, or none."""
        connection = self.client.connection
        assert connection is not None
        assert connection.link is not None
        slow = self.random.random() * PING_TIMEOUT_SECONDS
        client_after, server_after = self.random.choice(((0.0, slow), (slow, 0.0), (slow, slow / 2)))
        self.client.witness.step(self.client.name, "loses its connection")
        connection.link.tear(client_after, server_after)


class Visitor(Person, ABC):
    """Somebody who connects again and again until there is no more reason to."""

    is_done = False

    async def live(self) -> None:
        """Be there, and come back, until it is over."""
        while not (self.is_done or self.world.is_closing):
            connection = await self._connect()
            if connection is None:
                await self._rest(0.6)
                continue
            try:
                await self.stay()
            except GoneError:
                pass
            finally:
                connection.hang_up()
            farewell = self.client.farewell
            if farewell is not None and farewell.is_final and self.random.random() < 0.7:
                return
            if self.random.random() < self.world.fickleness:
                return
            await self._rest(self.random.choice((0.05, 0.3, 3.0)))

    @abstractmethod
    async def stay(self) -> None:
        """Do on a connection whatever there is to do.

        Raises:
            GoneError: The connection is gone.
        """


class Participant(Visitor):
    """A user with one tab open."""

    def __init__(
        self,
        name: str,
        user: UserId,
        slot: SlotId,
        world: Surroundings,
        witness: Witness,
        random: Random,
        restless: float,
    ) -> None:
        super().__init__(name, Actor(user_id=user, role=Role.PARTICIPANT), world, witness, random, restless)
        self._slot = slot
        self._unanswered: tuple[str, dict[str, object]] | None = None
        self._tabs = [name]

    async def stay(self) -> None:
        """Join, and do this and that."""
        session_id = self.world.session_of(self._slot)
        if session_id is None or not await self._join(session_id):
            return
        while not self.world.is_closing:
            if self._unanswered is not None:
                (name, payload), self._unanswered = self._unanswered, None
                await self._command(name, **payload)
            await self.think()
            if not await self._act(session_id):
                return
        if self.random.random() < 0.5:
            await self.try_to("leave")
        elif self.random.random() < 0.5:
            self.tear()

    async def _join(self, session_id: SessionId) -> bool:
        client = self.client
        client.session_id = session_id
        if not client.listening and self.random.random() < 0.1:
            client.forget()
        try:
            await client.ask("join", session_id=session_id, after=client.positions.get(session_id))
        except CoordinatorError as refusal:
            self.is_done = not (refusal.retryable or isinstance(refusal, (*_MAY_PASS, NotInSessionError)))
            return False
        return True

    async def _command(self, name: str, **payload: object) -> None:
        self._unanswered = (name, payload) if self.random.random() < 0.7 else None
        await self.try_to(name, **payload)
        self._unanswered = None

    async def _act(self, session_id: SessionId) -> bool:
        """Do one thing; tell whether the connection is still wanted."""
        random = self.random
        match random.choices(_DEEDS, _DEED_WEIGHTS)[0]:
            case "camera":
                await self._command("set_media", camera=random.random() < 0.5)
            case "mic":
                await self._command("set_media", mic=random.random() < 0.5)
            case "both at once":
                await asyncio.gather(
                    self._command("set_media", camera=random.random() < 0.5, mic=random.random() < 0.5),
                    self._command("set_consent", granted=random.random() < 0.7),
                )
            case "consent":
                await self._command("set_consent", granted=random.random() < 0.7)
            case "signal":
                await self.try_to("signal", to=random.choice(self.world.users_of(self._slot)), data=random.random())
            case "sync":
                await self.try_to("sync", after=self.client.positions.get(session_id, 0))
            case "join again":
                await self._join(session_id)
            case "leave":
                await self.try_to("leave")
                return random.random() < 0.5 and await self._join(session_id)
            case "hang up":
                return False
            case "tear":
                self.tear()
            case "second tab":
                self._open_tab()
        return True

    def _open_tab(self) -> None:
        if len(self._tabs) < _MOST_TABS:
            name, user = f"{self._tabs[0]}{chr(39) * len(self._tabs)}", self.client.actor.user_id
            self._tabs.append(name)
            random = Random(self.random.random())
            tab = Participant(name, user, self._slot, self.world, self.client.witness, random, self.restless)
            tab._tabs = self._tabs
            self.world.arrive(tab)


_WEIGHTS = {
    "camera": 16,
    "mic": 16,
    "both at once": 8,
    "consent": 10,
    "signal": 8,
    "sync": 3,
    "join again": 2,
    "leave": 3,
    "hang up": 6,
    "tear": 8,
    "second tab": 3,
}
_DEEDS, _DEED_WEIGHTS = list(_WEIGHTS), list(_WEIGHTS.values())


class Moderator(Visitor):
    """Somebody who watches every session and now and then does something about it."""

    def __init__(
        self,
        name: str,
        slots: list[SlotId],
        world: Surroundings,
        witness: Witness,
        random: Random,
        restless: float,
        *,
        ends_sessions: bool,
    ) -> None:
        super().__init__(name, Actor(user_id=UserId(name), role=Role.MODERATOR), world, witness, random, restless)
        self._slots = slots
        self._ends_sessions = ends_sessions

    async def stay(self) -> None:
        """Watch, and interfere."""
        while not self.world.is_closing:
            for slot in self._slots:
                session_id = self.world.session_of(slot)
                if session_id is not None and session_id not in self.client.listening:
                    after = self.client.positions.get(session_id)
                    await self.try_to("watch", session_id=session_id, after=after)
            await self.think()
            await self._act(self.random.choice(self._slots))

    async def _act(self, slot: SlotId) -> None:
        random, session_id = self.random, self.world.session_of(slot)
        if session_id is None:
            return
        user = random.choice(self.world.users_of(slot))
        match random.choices(_MEASURES, _MEASURE_WEIGHTS)[0]:
            case "record":
                await self.try_to("set_recording", session_id=session_id, enabled=random.random() < 0.7)
            case "mute":
                await self.try_to("mute", session_id=session_id, user_id=user)
            case "remove":
                await self.try_to("remove", session_id=session_id, user_id=user)
            case "end":
                if self._ends_sessions:
                    await self.try_to("end_session", session_id=session_id)
            case "unwatch":
                if await self.try_to("unwatch", session_id=session_id):
                    self.client.listening.pop(session_id, None)
            case "hang up":
                raise GoneError
            case "tear":
                self.tear()


_MEASURE_WEIGHT = {"record": 10, "mute": 8, "remove": 1, "end": 1, "unwatch": 2, "hang up": 3, "tear": 3}
_MEASURES, _MEASURE_WEIGHTS = list(_MEASURE_WEIGHT), list(_MEASURE_WEIGHT.values())
