"""The engine of a cluster: the book in Redis, matched by scripts there, shared by all nodes."""
