"""Sending a recorded day to a running server.

`lobster` reads the recording, `translate` makes a client's messages of it and `orders` follows the
answers, all without I/O; `run` puts them on a connection and `tally` says what came of it.
"""
