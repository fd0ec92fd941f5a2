"""The schema's version, importable without SQLAlchemy."""

HEAD = "0005"  # the newest revision in migrations/versions; a test compares the two
