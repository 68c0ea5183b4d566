"""The order of the work: the stages of a document's life, the Prefect flows, the reports and the command line."""

from os import environ

# Prefect reads both when it is imported: neither its client nor a server of this process sends usage data
environ.setdefault("DO_NOT_TRACK", "1")
environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
