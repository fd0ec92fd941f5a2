"""A simulator of the failover machine: the real core and runner, days of a simulated world in milliseconds. docs/simulator.md tells how to use it."""
