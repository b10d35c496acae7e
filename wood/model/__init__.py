"""The vocabulary: instruments, commands, events and errors.

Everything above this layer speaks in these types. Prices are whole ticks and quantities whole lots
of their instrument everywhere inside; decimals exist only on the wire (see `scale`).
"""
