"""`run` and `tick`: watches, decides, starts long jobs as child processes, tells people. Never does long work itself."""
