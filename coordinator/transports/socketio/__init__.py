"""Socket.IO (SPEC section 3).

Reading order: `server` (the whole), `reception` (where events arrive), `connection` and `client` (one end and the
other), `handshake` and `expiry` (who may connect, and until when), `namespace` (what all namespaces share), `rooms`,
`moderation` and `recording` (the namespaces), `fanout` (one thing to many). Then the two roads to a client, `direct`
and `ordinary`, and what goes over the `wire`.
"""
