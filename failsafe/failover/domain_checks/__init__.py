"""What the doctor checks of a domain beyond its MX records: one file a subject, each with its codes, its facts and its judge."""
