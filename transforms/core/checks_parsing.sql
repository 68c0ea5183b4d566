-- Grain: one per candidate and rule about values that could not be parsed exactly.
WITH unparsed AS (
    SELECT invoice_id, kind, string_agg(
        format('{}{} ''{}''', field, CASE WHEN item_number > 0 THEN ' ' || item_number ELSE '' END, stated_text),
        ', ' ORDER BY item_number, field
    )[:500] AS fields
    FROM unparsed_values
    GROUP BY invoice_id, kind
)
SELECT c.invoice_id, k.kind || '-EXACT' AS rule_id, decide_outcome(true, u.fields IS NULL) AS outcome,
       'no exact value, so the field is empty: ' || u.fields AS message
FROM candidates AS c
CROSS JOIN (VALUES ('DATE'), ('AMOUNT'), ('QUANTITY')) AS k (kind)
LEFT JOIN unparsed AS u ON u.invoice_id = c.invoice_id AND u.kind = k.kind
