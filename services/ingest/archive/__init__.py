"""Days of results as files: what is in one, how it is written and read, and where it lies."""
