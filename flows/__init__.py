"""When, and in what order: the stages of a document's life, the Prefect flows and the command line."""
