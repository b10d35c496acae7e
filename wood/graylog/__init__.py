"""Records for Graylog: what happens to a process, and what happens in the market."""
