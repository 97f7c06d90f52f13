"""MongoDB behind the ports, and the embedded server for those who have no MongoDB at hand.

Owns the driver: no module outside this package imports it. Must not know rooms, transports or settings files.
"""
