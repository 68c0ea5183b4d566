"""Documents that a vendor is asked about together: formed, uploaded, submitted once, looked at, concluded."""
