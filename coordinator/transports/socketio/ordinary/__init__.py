"""The ordinary road: python-socketio (`road`), over Engine.IO with some parts replaced (`engine`)."""
