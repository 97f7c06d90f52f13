"""Redis behind the port of the bus: channels between nodes, nothing stored.

Owns the driver: no module outside this package imports it. Must not know rooms, transports or settings files.
"""
