"""Bytes as people say them."""

from __future__ import annotations


def spoken_size(count: int) -> str:
    """ "1.2 GB": decimal units, as disks and lines are sold."""
    for unit, size in (("TB", 1000**4), ("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
