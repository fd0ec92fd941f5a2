"""What is looked at, from where and how often: `looks_of` in every.py gives all looks of one mail server."""
