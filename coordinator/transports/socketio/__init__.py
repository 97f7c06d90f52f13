"""Socket.IO (SPEC section 3).

Reading order: `server` (python-socketio, with what we change about it), `connection` (one client), `handshake` (who may
connect), `rooms` (the `/rooms` namespace), `fanout` (events to many).
"""
