"""Stand-in for the SmartBills receipts API, api.smartbills.io (contract sheet 05)."""
