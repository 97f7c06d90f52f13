"""What the services need from the outside world, as small Protocols. Their docstrings are the contract.

Every port has at least two implementations, and one contract test suite runs over all of them.
"""
