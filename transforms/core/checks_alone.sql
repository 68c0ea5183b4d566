-- Grain: one per candidate and rule that looks at nothing but the candidate itself.
SELECT * FROM checks_reading
UNION ALL SELECT * FROM checks_presence
UNION ALL SELECT * FROM checks_totals
UNION ALL SELECT * FROM checks_taxes
UNION ALL SELECT * FROM checks_categories
UNION ALL SELECT * FROM checks_lines
UNION ALL SELECT * FROM checks_sense
UNION ALL SELECT * FROM checks_agreement
UNION ALL SELECT * FROM checks_extraction
