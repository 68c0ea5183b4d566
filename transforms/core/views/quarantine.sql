-- Grain: one per candidate that was not accepted, and one per document that ended without a candidate.
-- By `state`, some rows wait for a person (quarantined, review) and some are final (duplicate, not_invoice).
WITH ranked AS (
    SELECT invoice_id, rule_id, message,
           CASE severity WHEN 'critical' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END AS severity_rank
    FROM core.findings
    WHERE invoice_id IS NOT NULL
), severest AS (
    SELECT f.invoice_id, f.rule_id, f.message
    FROM ranked AS f
    JOIN core.candidates AS c USING (invoice_id)
    QUALIFY row_number() OVER (
        PARTITION BY f.invoice_id
        ORDER BY CASE WHEN c.verdict = 'duplicate' AND f.rule_id = 'DUPLICATE-CONTENT' THEN 0 ELSE f.severity_rank END,
                 f.rule_id
    ) = 1
)
SELECT
    c.document_sha256,
    c.invoice_id,
    'validate' AS stage,
    c.verdict AS state,
    coalesce(s.rule_id, 'decided') AS reason_code,
    coalesce(s.message, 'decided by ' || c.decided_by) AS reason
FROM core.candidates AS c
LEFT JOIN severest AS s USING (invoice_id)
WHERE c.verdict != 'accepted'
UNION ALL
SELECT d.document_sha256, NULL AS invoice_id, 'extract' AS stage, d.state, d.reason_code, d.reason
FROM core.documents AS d
WHERE d.state NOT IN ('waiting', 'accepted')
  AND d.document_sha256 NOT IN (SELECT document_sha256 FROM core.candidates)
