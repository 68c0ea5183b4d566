-- Grain: one per candidate with keys: the earlier candidate with the same content, or else the one with the same number
-- but other content. Earlier are the candidates known before this batch, then those before it in the batch. A candidate
-- that a critical rule quarantines is not an original. Only the oldest of each key is considered, so the cost is linear
-- however often an invoice arrives. Two candidates match by name alone only if one of them has no tax id
-- (number_key = name_key): a page read by a model states none.
WITH quarantined AS (
    SELECT DISTINCT invoice_id FROM checks_per_candidate
    WHERE outcome = 'broken' AND rule_id IN (SELECT rule_id FROM critical_rules)
), all_keys AS (
    SELECT k.invoice_id, k.number_key, coalesce(k.name_key, k.invoice_id) AS name_key, k.content_key,
           k.sequence, k.document_sha256, k.ordinal, true AS is_in_batch, q.invoice_id IS NULL AS can_be_original
    FROM candidate_keys AS k LEFT JOIN quarantined AS q USING (invoice_id)
    UNION ALL
    SELECT invoice_id, number_key, number_key AS name_key, content_key,
           NULL AS sequence, '' AS document_sha256, 0 AS ordinal, false AS is_in_batch, true AS can_be_original
    FROM known_keys WHERE invoice_id NOT IN (SELECT invoice_id FROM candidates)
), compared AS (
    SELECT
        *,
        first_value(CASE WHEN can_be_original THEN invoice_id END IGNORE NULLS) OVER same_content AS same_content_id,
        first_value(CASE WHEN can_be_original THEN invoice_id END IGNORE NULLS) OVER same_number AS same_number_id,
        first_value(CASE WHEN can_be_original THEN invoice_id END IGNORE NULLS) OVER same_name AS same_name_id,
        first_value(CASE WHEN can_be_original AND number_key = name_key THEN invoice_id END IGNORE NULLS) OVER same_name
            AS same_name_without_tax_id
    FROM all_keys
    WINDOW same_content AS (PARTITION BY content_key ORDER BY sequence NULLS FIRST, document_sha256, ordinal, invoice_id
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           same_number AS (PARTITION BY number_key ORDER BY sequence NULLS FIRST, document_sha256, ordinal, invoice_id
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
           same_name AS (PARTITION BY name_key ORDER BY sequence NULLS FIRST, document_sha256, ordinal, invoice_id
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT
    invoice_id,
    same_content_id AS same_invoice_id,
    CASE WHEN same_content_id IS NULL
         THEN coalesce(same_number_id, CASE WHEN number_key = name_key THEN same_name_id ELSE same_name_without_tax_id END)
         END AS other_invoice_id
FROM compared
WHERE is_in_batch
