"""Socket.IO (SPEC section 3).

Reading order: `server` (the whole), `reception` (where events arrive), `connection` and `client` (one end and the
other), `handshake` (who may connect), `namespace` (what all namespaces share), `rooms`, `moderation` and `recording`
(the namespaces), `fanout` (one thing to many). Then the roads: `direct` with `handover`, `moving`, `pings` and
`outgoing`, over `frames`, `masks` and `packets`; and `ordinary`, which is python-socketio.
"""
