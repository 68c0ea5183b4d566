"""One file for each schema version, written once: a released step is never changed."""
