"""Socket.IO (SPEC section 3).

Reading order: `server` (python-socketio, with what we change about it), `connection` (one client), `handshake` (who may
connect), `namespace` (what all namespaces share), `rooms`, `moderation` and `recording` (the namespaces), `fanout` (one
thing to many).
"""
