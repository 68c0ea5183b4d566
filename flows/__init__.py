"""The order of the work: the stages of a document's life, the Prefect flows, the reports and the command line."""
