-- Grain: one per candidate with keys: the earlier one that states the same, or that has the same number but states
-- something else. Earlier is what was known before this batch, then what came before in it; what a stopping rule
-- quarantined is no one's original. Only the oldest of each key is looked at: the cost is linear however often one comes.
-- By name alone two meet only if one of them has no tax id (number_key = name_key): a page read by a model states none.
WITH stopped AS (
    SELECT DISTINCT invoice_id FROM checks_per_candidate
    WHERE outcome = 'broken' AND rule_id IN (SELECT rule_id FROM stopping_rules)
), met AS (
    SELECT k.invoice_id, k.number_key, coalesce(k.name_key, k.invoice_id) AS name_key, k.content_key,
           k.sequence AS came, k.document_sha256, k.ordinal, true AS is_ours, s.invoice_id IS NULL AS counts
    FROM candidate_keys AS k LEFT JOIN stopped AS s USING (invoice_id)
    UNION ALL
    SELECT invoice_id, number_key, number_key AS name_key, content_key,
           NULL AS came, '' AS document_sha256, 0 AS ordinal, false AS is_ours, true AS counts
    FROM known WHERE invoice_id NOT IN (SELECT invoice_id FROM candidates)
), looked AS (
    SELECT
        *,
        first_value(CASE WHEN counts THEN invoice_id END IGNORE NULLS) OVER same_content AS same_id,
        first_value(CASE WHEN counts THEN invoice_id END IGNORE NULLS) OVER same_number AS by_number_id,
        first_value(CASE WHEN counts THEN invoice_id END IGNORE NULLS) OVER same_name AS by_name_id,
        first_value(CASE WHEN counts AND number_key = name_key THEN invoice_id END IGNORE NULLS) OVER same_name
            AS by_bare_name_id
    FROM met
    WINDOW same_content AS (PARTITION BY content_key ORDER BY came NULLS FIRST, document_sha256, ordinal, invoice_id
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           same_number AS (PARTITION BY number_key ORDER BY came NULLS FIRST, document_sha256, ordinal, invoice_id
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           same_name AS (PARTITION BY name_key ORDER BY came NULLS FIRST, document_sha256, ordinal, invoice_id
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT
    invoice_id,
    same_id AS same_invoice_id,
    CASE WHEN same_id IS NULL
         THEN coalesce(by_number_id, CASE WHEN number_key = name_key THEN by_name_id ELSE by_bare_name_id END)
         END AS other_invoice_id
FROM looked
WHERE is_ours
