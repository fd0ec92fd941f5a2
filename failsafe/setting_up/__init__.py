"""What `failsafe init` asks, what follows from the answers and from what was found, and the text of the configuration. Pure."""
