"""Judging health, deciding, planning and carrying out a change of MX records."""
