"""Benchmarks: `python -m bench [status|daemon] [--minutes N] [--save]`. They measure and print; nothing in the test suite asserts a time."""
