-- Grain: one per candidate and rule about what could be read exactly.
WITH found AS (
    SELECT invoice_id, kind, string_agg(
        field || CASE WHEN place > 0 THEN ' ' || place ELSE '' END || ' ''' || said || '''', ', ' ORDER BY place, field
    )[:500] AS fields
    FROM unparsed_values
    GROUP BY invoice_id, kind
)
SELECT c.invoice_id, k.kind || '-EXACT' AS rule_id, decide_outcome(true, f.fields IS NULL) AS outcome,
       'not read exactly, so left out: ' || f.fields AS message
FROM candidates AS c
CROSS JOIN (VALUES ('DATE'), ('AMOUNT'), ('QUANTITY')) AS k (kind)
LEFT JOIN found AS f ON f.invoice_id = c.invoice_id AND f.kind = k.kind
