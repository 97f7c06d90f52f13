"""A consumer of the feed in a process of its own, to be killed: every record is on disk before it is acked.

Prints nothing. Its log has a line for each start (`{"started": true}`), for each (re)subscription, for each record, and
for each ack when it is sent and when it is answered. What is right is for the test to say.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import socketio

from tests.processes.resuming import CALL_SECONDS, GOODBYE_SECONDS, insist_on_ending

NAMESPACE = "/recording"


async def follow(address: str, token: str, consumer: str, path: str) -> None:
    """Follow the feed for ever, across any number of deaths of the server."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(line: dict[str, Any]) -> None:
        os.write(
            descriptor, json.dumps(line).encode() + b"\n"
        )  # survives the death of this process, if not of the machine

    note({"started": True})
    while True:
        await _once(address, token, consumer, note)
        await asyncio.sleep(0.05)  # as any client does between two attempts


async def _once(address: str, token: str, consumer: str, note: Callable[[dict[str, Any]], None]) -> None:
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    gone = asyncio.Event()
    client.on("disconnect", lambda _reason: gone.set(), namespace=NAMESPACE)
    stay = asyncio.create_task(_stay(client, address, token, consumer, note))
    # A call whose answer never comes would otherwise wait for its timeout.
    watch = asyncio.create_task(gone.wait())
    try:
        await asyncio.wait({stay, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        await insist_on_ending(stay)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await client.disconnect()


async def _stay(
    client: socketio.AsyncClient, address: str, token: str, consumer: str, note: Callable[[dict[str, Any]], None]
) -> None:
    records: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    client.on("record", records.put_nowait, namespace=NAMESPACE)
    await client.connect(
        address, namespaces=[NAMESPACE], auth={"token": token}, transports=["websocket"], wait_timeout=5
    )
    answer = await client.call("subscribe", {"consumer": consumer}, namespace=NAMESPACE, timeout=CALL_SECONDS)
    note({"subscribed": answer})
    while answer["ok"]:
        record = await records.get()
        note({"record": record})
        if records.empty():
            note({"acking": record["cursor"]})
            acked = await client.call("ack", {"cursor": record["cursor"]}, namespace=NAMESPACE, timeout=CALL_SECONDS)
            note({"acked": record["cursor"], **acked})


if __name__ == "__main__":
    asyncio.run(follow(*sys.argv[1:]))
