"""Measurements of a real coordinator, from outside: see README.md beside this file."""
