"""Realtime session coordinator for live language-practice rooms.

Start reading at ``coordinator/README.md``: it is the map of this package.
"""

__version__ = "0.1.0"
