"""A router of a sharded MongoDB cluster, as far as `coordinator doctor` asks one: it speaks the wire protocol.

No real one can be run beside the tests. What this one answers is put together from MongoDB's manual, and shows how the
answers are understood, not that a real router gives them.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import bson

from coordinator.adapters.mongo.shapes import COLLECTIONS

Document = dict[str, Any]

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013


class Router:
    """What it says.

    Attributes:
        url: Where it answers.
        sharded: The shard keys of sharded collections, by name.
        whole: Collections that it keeps account of although they are not sharded, as of version 8.
        may_read_config: Whether the user may see how collections are sharded.
        more_indexes: Further indexes, by collection.
        nodes: Heartbeats, by node: how many seconds ago.
        behind_seconds: By how much its clock is behind.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sharded: dict[str, Document] = {}
        self.whole: tuple[str, ...] = ()
        self.may_read_config = True
        self.more_indexes: dict[str, Document] = {}
        self.nodes: dict[str, float] = {}
        self.behind_seconds = 0.0

    def now(self) -> datetime:
        """Return what time it is there."""
        return datetime.now(UTC) - timedelta(seconds=self.behind_seconds)

    def answer(self, command: Mapping[str, Any]) -> Document:
        """Answer a command."""
        name = next(iter(command))
        match name:
            case "hello" | "ismaster" | "isMaster":
                return self._hello()
            case "buildInfo":
                return {"version": "8.0.4", "ok": 1.0}
            case "ping" | "endSessions":
                return {"ok": 1.0}
            case "listCollections":
                return _cursor([self._collection(shape.name) for shape in COLLECTIONS])
            case "listIndexes":
                return _cursor(self._indexes(command[name]))
            case "find" if (command["$db"], command[name]) == ("config", "collections"):
                return self._config_collections(command["filter"]["_id"]["$in"])
            case "find" if command[name] == "nodes":
                beats = ((node, self.now() - timedelta(seconds=ago)) for node, ago in self.nodes.items())
                return _cursor([{"_id": node, "at": at} for node, at in beats])
        return {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: {name!r}"}

    def _hello(self) -> Document:
        return {
            "isWritablePrimary": True,
            "ismaster": True,
            "helloOk": True,
            "msg": "isdbgrid",
            "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "localTime": self.now(),
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": 1,
            "minWireVersion": 0,
            "maxWireVersion": 25,
            "ok": 1.0,
        }

    def _collection(self, name: str) -> Document:
        (validator,) = (shape.validator for shape in COLLECTIONS if shape.name == name)
        options = {"validator": validator, "validationLevel": "strict", "validationAction": "error"}
        return {"name": name, "type": "collection", "options": options}

    def _indexes(self, name: str) -> list[Document]:
        (shape,) = (shape for shape in COLLECTIONS if shape.name == name)
        found: list[Document] = [{"v": 2, "key": {"_id": 1}, "name": "_id_"}]
        found += [{"v": 2, "key": dict(index.keys), "name": index.name, **index.options} for index in shape.indexes]
        if "hashed" in (key := self.sharded.get(name, {})).values():
            found.append({"v": 2, "key": key, "name": "_".join(f"{field}_hashed" for field in key)})
        return [*found, self.more_indexes[name]] if name in self.more_indexes else found

    def _config_collections(self, wanted: Sequence[str]) -> Document:
        if not self.may_read_config:
            text = "not authorized on config to execute command"
            return {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": text}
        prefix = wanted[0].partition(".")[0]
        known: list[Document] = [
            {"_id": f"{prefix}.{name}", "key": key, "unique": False, "noBalance": False}
            for name, key in self.sharded.items()
        ]
        known += [{"_id": f"{prefix}.{name}", "key": {"_id": 1}, "unsplittable": True} for name in self.whole]
        return _cursor([item for item in known if item["_id"] in wanted])


@asynccontextmanager
async def running_router() -> AsyncIterator[Router]:
    """Let a router listen on a free port."""
    router = Router()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                writer.write(_reply(router, *await _read(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    router.url = f"mongodb://{host}:{port}/"
    try:
        yield router
    finally:
        server.close()
        for writer in list(writers):
            writer.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """Return a request's id, its kind and its body."""
    length, request_id, _, operation = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    return request_id, operation, await reader.readexactly(length - _HEADER.size)


def _reply(router: Router, request_id: int, operation: int, body: bytes) -> bytes:
    if operation == _OP_MSG:  # flags, and the command after the kind of its section
        payload = b"\0\0\0\0\0" + bson.encode(router.answer(bson.decode(body[5:])))
    else:  # how a driver says hello: flags, a name that ends with 0, two numbers, the command
        assert operation == _OP_QUERY
        command = body[body.index(b"\0", 4) + 1 + 8 :]
        payload = struct.pack("<iqii", 0, 0, 0, 1) + bson.encode(router.answer(bson.decode(command)))
    kind = _OP_MSG if operation == _OP_MSG else _OP_REPLY
    return _HEADER.pack(_HEADER.size + len(payload), 0, request_id, kind) + payload


def _cursor(found: Sequence[Document]) -> Document:
    return {"cursor": {"id": 0, "ns": "any.thing", "firstBatch": list(found)}, "ok": 1.0}
