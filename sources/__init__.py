"""The sources of documents: one package per kind of source, each with a dlt source."""
