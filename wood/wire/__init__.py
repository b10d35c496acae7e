"""Bytes to messages and events to bytes: JSON lines and MessagePack; no sockets, no clock."""
