"""Stand-in for Invoice Data Extraction, api.invoicedataextraction.com (contract sheet 02)."""
