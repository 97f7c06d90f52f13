"""The direct road: a WebSocket from its first byte on, or moved there from polling.

`road` is the road and its clients; `handover` takes their sockets from aiohttp, `moving` those who polled before;
`outgoing` writes, `pings` asks who is still there.
"""
