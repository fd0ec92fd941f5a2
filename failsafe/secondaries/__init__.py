"""What is known of providers that can be a secondary: known.toml holds the facts, provider.py says what they mean, known.py reads them."""
