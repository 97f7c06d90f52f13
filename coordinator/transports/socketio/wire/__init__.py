"""What goes over the wire, without I/O: `frames` of WebSockets, with `masks`, and Socket.IO's `packets` in them."""
