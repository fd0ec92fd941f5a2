"""Filter rules in Sieve (RFC 5228), read and judged without being carried out."""
