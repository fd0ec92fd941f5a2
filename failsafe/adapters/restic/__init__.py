"""restic, driven by its command line."""

from failsafe.adapters.restic.driver import Patience
from failsafe.adapters.restic.repository import ResticRepository

__all__ = ["Patience", "ResticRepository"]
