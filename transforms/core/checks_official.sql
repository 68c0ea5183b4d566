-- Grain: one per candidate and severity of the official rules, and one that says whether they were run. What each failed
-- rule says is in `official_failures`. They concern e-invoices; `official_runs` has a row per document and rule set.
WITH runs AS (
    SELECT document_sha256, bool_or(status IN ('valid', 'invalid')) AS is_run,
           string_agg(reason, '; ' ORDER BY rule_set) FILTER (status = 'not_run') AS not_run_reason
    FROM official_runs GROUP BY document_sha256
), failures AS (
    SELECT document_sha256, ordinal, severity, string_agg(rule_id, ', ' ORDER BY rule_id) AS rule_ids
    FROM official_failures GROUP BY document_sha256, ordinal, severity
), outcomes AS (
    SELECT c.invoice_id, coalesce(r.is_run, false) AS is_run, r.not_run_reason, s.rule_id, f.rule_ids
    FROM candidates AS c
    CROSS JOIN (SELECT unnest([
        {severity: 'critical', rule_id: 'OFFICIAL-CRITICAL'}, {severity: 'warning', rule_id: 'OFFICIAL-WARNING'},
        {severity: 'info', rule_id: 'OFFICIAL-INFO'}], recursive := true)) AS s
    LEFT JOIN runs AS r ON r.document_sha256 = c.document_sha256 AND c.extracted_by = 'einvoice'
    LEFT JOIN failures AS f
        ON f.document_sha256 = c.document_sha256 AND f.ordinal = c.ordinal AND f.severity = s.severity
        AND c.extracted_by = 'einvoice'
)
SELECT invoice_id, rule_id, decide_outcome(is_run, rule_ids IS NULL) AS outcome,
       'official rules that do not hold: ' || rule_ids AS message
FROM outcomes
UNION ALL
SELECT DISTINCT invoice_id, 'OFFICIAL-RULES-NOT-RUN' AS rule_id,
       decide_outcome(is_run OR not_run_reason IS NOT NULL, not_run_reason IS NULL) AS outcome,
       'the official rules were not run, so only our own rules decide: ' || not_run_reason AS message
FROM outcomes
