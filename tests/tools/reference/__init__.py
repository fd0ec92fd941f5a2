"""The reference pages, printed from the code: `python -m tests.tools.reference` writes docs/reference/*.md; a test compares."""
