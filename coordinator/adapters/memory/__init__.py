"""Every port in plain memory: complete, for fast tests and simulations, and with hooks to make a store fail.

Owns nothing that outlives the process; must not know databases. The contract tests hold it to the promises that MongoDB
keeps.
"""
