"""Clients: one module per remote API, named by host. They send requests and parse responses, and do nothing else."""
