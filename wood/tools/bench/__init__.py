"""A closed-loop load generator for any server of the base protocol, and what puts it in proportion.

A figure in messages/s says as much about the machine and its mood as about the server. So the same
flow can be given, in turns, to a server that only parses and acknowledges (`ceiling`): no server in
Python with this protocol can do better, and the ratio of the two holds on a noisy machine.
"""
