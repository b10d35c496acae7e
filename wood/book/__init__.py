"""Price-time matching in memory: pure, synchronous, no I/O. It is the specification of matching."""
