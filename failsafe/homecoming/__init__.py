"""Bringing mail from the secondary home: what is found there, where it goes, what the primary has of it already."""
