"""Where restored messages go. Each kind only ever adds, says what it holds already, and reads back what it was given."""

from failsafe.backup.destinations.base import AlreadyThere, Destination, Rejected
from failsafe.backup.destinations.eml import EmlDestination
from failsafe.backup.destinations.imap import ImapDestination
from failsafe.backup.destinations.maildir import MaildirDestination
from failsafe.backup.destinations.mbox import MboxDestination
from failsafe.backup.destinations.zip import ZipDestination

__all__ = [
    "AlreadyThere",
    "Destination",
    "EmlDestination",
    "ImapDestination",
    "MaildirDestination",
    "MboxDestination",
    "Rejected",
    "ZipDestination",
]
