"""A server of rooms on python-socketio and Motor, as their users write one: what the coordinator is measured against.

It does what `node/server.mjs` does, with two awaited writes per event; see there for what it has not.
"""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

import jwt
import socketio
import uvloop
from aiohttp import web
from motor.motor_asyncio import AsyncIOMotorClient

SECRET = os.environ["PEER_SECRET"]


class Session:
    """A session: how far its events are, and who is in it."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.seq = 0
        self.watchers = 0
        self.participants: dict[str, dict[str, Any]] = {}

    def snapshot(self) -> dict[str, Any]:
        """Return what whoever joins is shown."""
        session = {"id": self.id, "status": "active", "seq": self.seq}
        return {"session": session, "participants": list(self.participants.values())}


class Store:
    """Two writes per event, or none without a database."""

    def __init__(self) -> None:
        self._database: Any = None
        if url := os.environ.get("PEER_MONGO_URL"):
            client: Any = AsyncIOMotorClient(url, w="majority", journal=True)
            self._database = client[os.environ["PEER_DATABASE"]]

    async def prepare(self) -> None:
        """Make the index."""
        if self._database is not None:
            await self._database.events.create_index([("sessionId", 1), ("seq", 1)], unique=True)

    async def write(self, event: dict[str, Any], key: str, change: dict[str, Any]) -> None:
        """Write an event and the participant it changes."""
        if self._database is not None:
            await self._database.events.insert_one(event)
            await self._database.participants.update_one({"_id": key}, {"$set": change}, upsert=True)


sio = socketio.AsyncServer(async_mode="aiohttp", transports=["websocket"])
store = Store()
sessions: dict[str, Session] = {}


async def happen(session: Session, name: str, user_id: str, change: dict[str, Any]) -> int:
    """Number, store and announce an event; return its seq."""
    session.seq += 1
    seq, at = session.seq, datetime.now(UTC)
    actor = {"userId": user_id, "role": "participant"}
    data = {"userId": user_id, **change}
    stored = {"sessionId": session.id, "seq": seq, "type": name, "at": at, "actor": actor, "data": data}
    document = {"sessionId": session.id, "userId": user_id, "updatedAt": at, **change}
    await store.write(stored, f"{session.id}:{user_id}", document)
    event = {"sessionId": session.id, "seq": seq, "at": at.isoformat(), "actor": actor, "data": data}
    await sio.emit(name, event, room=session.id, namespace="/rooms")
    if session.watchers:
        await sio.emit(name, event, room=session.id, namespace="/moderation")
    return seq


async def admit(sid: str, auth: dict[str, str], role: str, namespace: str) -> None:
    """Let in who has a token with that role."""
    try:
        claims = jwt.decode(auth["token"], SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise ConnectionRefusedError("unauthenticated") from error
    if claims["role"] != role:
        raise ConnectionRefusedError("forbidden")
    await sio.save_session(sid, {"user": claims["sub"]}, namespace=namespace)


@sio.on("connect", namespace="/rooms")
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:  # noqa: ARG001
    await admit(sid, auth, "participant", "/rooms")


@sio.on("join", namespace="/rooms")
async def join(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Join a session."""
    known = await sio.get_session(sid, namespace="/rooms")
    session = sessions.setdefault(payload["sessionId"], Session(payload["sessionId"]))
    media = {"cameraEnabled": False, "micEnabled": False}
    await happen(session, "participant_joined", known["user"], media)
    session.participants[known["user"]] = {"userId": known["user"], **media}
    known["session"] = session
    await sio.save_session(sid, known, namespace="/rooms")
    await sio.enter_room(sid, session.id, namespace="/rooms")
    return {"ok": True, "sessionId": session.id, "seq": session.seq, "resumed": False, "snapshot": session.snapshot()}


@sio.on("set_media", namespace="/rooms")
async def set_media(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Switch the camera."""
    known = await sio.get_session(sid, namespace="/rooms")
    session, camera = known["session"], payload["cameraEnabled"]
    seq = await happen(session, "camera_changed", known["user"], {"cameraEnabled": camera})
    session.participants[known["user"]]["cameraEnabled"] = camera
    return {"ok": True, "seq": seq}


@sio.on("connect", namespace="/moderation")
async def connect_moderator(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:  # noqa: ARG001
    await admit(sid, auth, "moderator", "/moderation")


@sio.on("watch", namespace="/moderation")
async def watch(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Watch a session."""
    session = sessions.setdefault(payload["sessionId"], Session(payload["sessionId"]))
    session.watchers += 1
    await sio.enter_room(sid, session.id, namespace="/moderation")
    return {"ok": True, "sessionId": session.id, "seq": session.seq, "resumed": False, "snapshot": session.snapshot()}


async def main() -> None:
    """Serve until the process ends."""
    await store.prepare()
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"ready at http://{host}:{port}/ ", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
