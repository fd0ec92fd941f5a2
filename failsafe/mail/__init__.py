"""Pure knowledge of mail: names, flags, identity, replies."""
