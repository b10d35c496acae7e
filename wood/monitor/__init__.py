"""The whole exchange at a glance, as Redis and the nodes tell it."""
