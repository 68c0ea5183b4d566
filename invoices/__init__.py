"""What an invoice is about: plain Python that knows no framework."""
