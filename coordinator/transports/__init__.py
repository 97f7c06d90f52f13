"""The edges: Socket.IO, HTTP, and the pages. They translate; they decide nothing."""
