"""The layouts of mail servers whose files are read: what to look at, and what of it belongs into a snapshot. Pure."""

from failsafe.backup.layouts.judge import judge_source, plan_look
from failsafe.backup.layouts.values import Container, Mount, Sight, Source, Wanted

__all__ = ["Container", "Mount", "Sight", "Source", "Wanted", "judge_source", "plan_look"]
