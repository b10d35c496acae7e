"""The engine behind one interface: commands in, numbered batches of events out."""
