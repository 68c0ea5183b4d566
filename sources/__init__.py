"""Where documents come from: one small folder per kind of source, each a dlt source."""
