"""Backups: what is due, pulling, proof of completeness, the archive format, jobs."""
