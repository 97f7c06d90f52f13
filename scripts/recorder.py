"""A recording service in miniature: it captures whom it may, attaches what it captured, and survives every restart.

    .venv/bin/coordinator token --sub recorder --role recorder --ttl 12h
    .venv/bin/python scripts/recorder.py http://127.0.0.1:8080 TOKEN

A capture here is no more than an entry in a file of notes. The notes are on disk before a record is acked: what was
acked is known after a restart of the recorder, and what was not is delivered again. So it has three duties: to skip
what it has, to note, and only then to ack. Whoever has lost the notes lets the feed begin anew, under another
`--consumer` or after `coordinator consumers --forget`: what was acked is not delivered again.
"""

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import socketio

STORE = "https://demo.r2.cloudflarestorage.com"


class Recorder:
    """Follows the feed as one consumer. Notes: `done`, the last seq of each session; `captures`, who is captured."""

    def __init__(self, consumer: str, notes: Path) -> None:
        self._consumer = consumer
        self._path = notes
        self._notes: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {"done": {}, "captures": {}}
        self._records: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._refusal: dict[str, Any] | None = None
        self._is_replaced = False
        self._client = socketio.AsyncClient()
        self._client.on("connect", self._subscribe, namespace="/recording")
        self._client.on("connect_error", self._refused, namespace="/recording")
        self._client.on("record", self._records.put, namespace="/recording")
        self._client.on("replaced", self._replaced, namespace="/recording")

    async def run(self, address: str, token: str) -> str | None:
        """Follow the feed until somebody else does so under the same name; returns why not, if that is refused."""
        connection = asyncio.create_task(self._stay_connected(address, token))
        work = asyncio.create_task(self._handle_all())
        await asyncio.wait({connection, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():  # it ends only when it fails
            connection.cancel()
            await work
        work.cancel()
        return await connection

    async def _stay_connected(self, address: str, token: str) -> str | None:
        while not self._is_replaced:  # the client returns after a lost connection, but not after one the server closed
            try:
                await self._client.connect(
                    address, namespaces=["/recording"], auth={"token": token}, transports=["websocket"], retry=True
                )
                await self._client.wait()
            except socketio.exceptions.ConnectionError:
                if self._refusal is not None and not self._refusal["retryable"]:
                    return f"refused: {self._refusal['message']}"
                await asyncio.sleep(1)  # a server that starts again must not be stormed
        return None

    async def _refused(self, error: Any) -> None:
        self._refusal = error.get("data") if isinstance(error, dict) else None  # otherwise nobody answers: try again

    async def _subscribe(self) -> None:
        answer = await self._call("subscribe", {"consumer": self._consumer})
        print("subscribed", answer.get("from") or answer["error"], flush=True)

    async def _replaced(self, _payload: Any) -> None:
        print("another recorder has taken over", flush=True)
        self._is_replaced = True
        await self._client.shutdown()

    async def _handle_all(self) -> None:
        while True:
            record = await self._records.get()
            event = record["event"]
            if event["seq"] > self._notes["done"].get(event["sessionId"], 0):
                await self._handle(event)
                self._notes["done"][event["sessionId"]] = event["seq"]
                self._write_notes()
            if self._records.empty():  # an ack stands for everything before it
                with suppress(socketio.exceptions.SocketIOError):  # if it gets lost, the record comes again
                    await self._client.emit("ack", {"cursor": record["cursor"]}, namespace="/recording")

    async def _handle(self, event: dict[str, Any]) -> None:
        session, user = event["sessionId"], event["data"].get("userId")
        if event["type"] == "recording_permitted":
            url = f"{STORE}/{session}/{quote(user, safe='')}/{event['seq']}.webm"
            self._notes["captures"][f"{session} {user}"] = {"url": url, "startTime": event["at"]}
            print("capture", user, "since", event["at"], flush=True)
        elif event["type"] == "recording_withdrawn":
            capture = self._notes["captures"].pop(f"{session} {user}", None)
            if capture is None:
                return
            answer = await self._call("attach_recording", {"sessionId": session, "userId": user, **capture})
            print("attached" if answer["ok"] else answer["error"]["code"], capture["url"], flush=True)

    async def _call(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                answer: dict[str, Any] = await self._client.call(name, payload, namespace="/recording", timeout=5)
                if answer["ok"] or not answer["error"]["retryable"]:
                    return answer
            except socketio.exceptions.SocketIOError:  # the connection is gone; repeating changes nothing twice
                pass
            await asyncio.sleep(0.5)  # refused for now, or not connected yet

    def _write_notes(self) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(self._notes))
        beside.replace(self._path)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("address")
    options.add_argument("token")
    options.add_argument("--consumer", default="recorder")
    options.add_argument("--notes", type=Path, default=Path("recorder-notes.json"))
    given = options.parse_args()
    sys.exit(asyncio.run(Recorder(given.consumer, given.notes).run(given.address, given.token)))
