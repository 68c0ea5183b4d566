-- Grain: one per candidate: the earlier ones that state the same, or have the same number but state something else.
-- Earlier is what was known before this batch, then what came before in it; what a stopping rule quarantined is no one's
-- original. Only the oldest of each key is looked at, so the cost is linear however often a number comes.
WITH stopped AS (
    SELECT DISTINCT invoice_id FROM checks_alone WHERE outcome = 'broken' AND rule_id IN (SELECT rule_id FROM stopping_rules)
), counted AS (
    SELECT k.invoice_id, k.number_key, k.content_key, k.sequence AS came, k.document_sha256, k.ordinal, true AS is_ours,
           s.invoice_id IS NULL AS counts
    FROM candidate_keys AS k LEFT JOIN stopped AS s USING (invoice_id)
    UNION ALL
    SELECT invoice_id, number_key, content_key, NULL AS came, '' AS document_sha256, 0 AS ordinal, false AS is_ours, true AS counts
    FROM known WHERE invoice_id NOT IN (SELECT invoice_id FROM candidates)
), looked AS (
    SELECT
        *,
        first_value(CASE WHEN counts THEN invoice_id END IGNORE NULLS) OVER before_same AS same_invoice_id,
        first_value(CASE WHEN counts THEN invoice_id END IGNORE NULLS) OVER before_number AS other_invoice_id
    FROM counted
    WINDOW before_same AS (PARTITION BY content_key ORDER BY came NULLS FIRST, document_sha256, ordinal, invoice_id
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           before_number AS (PARTITION BY number_key ORDER BY came NULLS FIRST, document_sha256, ordinal, invoice_id
                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT invoice_id, same_invoice_id, CASE WHEN same_invoice_id IS NULL THEN looked.other_invoice_id END AS other_invoice_id
FROM looked
WHERE is_ours
