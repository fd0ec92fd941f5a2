"""What a person opens in a browser: one read-only page, its JSON, and metrics."""
