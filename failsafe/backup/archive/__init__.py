"""The archive format on disk (docs/archive-format.md): `Staging` writes it, `Archive` reads it, `rebuild.py` reads it without us."""

from failsafe.backup.archive.layout import Location
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.segment import IndexLine, Sealed, SegmentWriter, Stored
from failsafe.backup.archive.staging import Staging
from failsafe.backup.archive.verify import Problem

__all__ = ["Archive", "IndexLine", "Location", "Problem", "Sealed", "SegmentWriter", "Staging", "Stored"]
