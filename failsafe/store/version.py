"""The schema's version, importable without SQLAlchemy."""

HEAD = "0006"  # the newest revision in migrations/versions; a test compares the two
