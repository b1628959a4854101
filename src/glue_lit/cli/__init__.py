"""Words on the command line, to work that is done elsewhere."""
