"""TCP: listeners, sessions, the way of events to clients, limits, drain."""
