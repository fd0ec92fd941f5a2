"""The state of everything as one value: built here once, shown by `status`, the dashboard and the heartbeat alike."""
