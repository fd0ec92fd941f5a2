"""The recovery kit: gathered from everywhere, shown as a page, written to a file and read from it again (docs/recovery-kit.md)."""
