"""Tokens: JSON Web Tokens behind the port `TokenVerifier`.

Owns what a claim must look like; must not know which connection or request presents the token.
"""
