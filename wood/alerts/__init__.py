"""Watching the exchange, and calling somebody."""
