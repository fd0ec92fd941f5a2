"""One library each, no policy; every library exception is translated here."""
