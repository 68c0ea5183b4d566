-- Grain: one per candidate and rule that concerns this candidate alone. Where an official rule of the same id was run
-- (`official_rule_ids`: our rules that a rule set decides), that result counts and ours is not applicable.
WITH own_checks AS (
    SELECT * FROM checks_parsing
    UNION ALL SELECT * FROM checks_required_fields
    UNION ALL SELECT * FROM checks_totals
    UNION ALL SELECT * FROM checks_taxes
    UNION ALL SELECT * FROM checks_tax_categories
    UNION ALL SELECT * FROM checks_lines
    UNION ALL SELECT * FROM checks_plausibility
    UNION ALL SELECT * FROM checks_vendor_totals
    UNION ALL SELECT * FROM checks_extraction
    UNION ALL SELECT * FROM checks_fatturapa
), officially_decided AS (
    SELECT DISTINCT c.invoice_id, i.rule_id
    FROM candidates AS c
    JOIN official_runs AS r ON r.document_sha256 = c.document_sha256 AND r.status IN ('valid', 'invalid')
    JOIN official_rule_ids AS i ON i.rule_set = r.rule_set
    WHERE c.extracted_by = 'einvoice'
)
SELECT o.invoice_id, o.rule_id, CASE WHEN d.rule_id IS NULL THEN o.outcome ELSE 'not_applicable' END AS outcome, o.message
FROM own_checks AS o
LEFT JOIN officially_decided AS d ON d.invoice_id = o.invoice_id AND d.rule_id = o.rule_id
UNION ALL
SELECT * FROM checks_official
