"""Programs that talk to a server over TCP, as any client would; none of them imports `node`."""
