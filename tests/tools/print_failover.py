"""Prints the generated parts of docs/failover.md: `python -m tests.tools.print_failover`, to be pasted when the table changes."""

from failsafe.failover.machine import render_promises, render_table

print(render_promises(), render_table(), sep="\n\n")
