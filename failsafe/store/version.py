"""The schema's version, importable without SQLAlchemy."""

HEAD = "0002"  # the newest revision in migrations/versions; a test compares the two
