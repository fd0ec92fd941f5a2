"""failsafe: backups, a second place for mail, and monitoring, for people who host their own mail."""

__version__ = "0.1.0"
