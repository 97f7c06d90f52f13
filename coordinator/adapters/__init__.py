"""The outside world behind the ports: databases, buses, tokens. Adapters know the ports and never one another."""
