"""Stand-in for SmartBills invoice extraction, api.smartbills.com (contract sheet 01)."""
