"""The composition root: the only place that names every concrete class.

`outside` makes everything from the outside world that a node works with; `node` puts services and transports together
over that, lets the whole answer, and stops it as planned.
"""

from coordinator.app.node import Coordinator, running
from coordinator.app.outside import Ports, database_url, make_tokens, mongo_ports, signing_secret

__all__ = ["Coordinator", "Ports", "database_url", "make_tokens", "mongo_ports", "running", "signing_secret"]
