-- Grain: one per candidate and rule that concerns this candidate alone.
SELECT * FROM checks_parsing
UNION ALL SELECT * FROM checks_required_fields
UNION ALL SELECT * FROM checks_totals
UNION ALL SELECT * FROM checks_taxes
UNION ALL SELECT * FROM checks_tax_categories
UNION ALL SELECT * FROM checks_lines
UNION ALL SELECT * FROM checks_plausibility
UNION ALL SELECT * FROM checks_vendor_totals
UNION ALL SELECT * FROM checks_extraction
