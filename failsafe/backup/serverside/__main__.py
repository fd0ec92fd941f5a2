"""Prints the program, for whoever installs it on a mail server."""

import sys

from failsafe.backup.serverside import program

sys.stdout.write(program())
