-- Grain: one per invoice and note of uncertainty: an uncertainty note, an item for review, or a row marked for review.
-- An item concerns the invoices whose rows it names, or all invoices if it names no row of any.
WITH note_lists AS (
    SELECT
        document_sha256,
        from_json(payload -> '$.uncertainty_notes', '[{"topic": "VARCHAR", "description": "VARCHAR"}]') AS notes,
        from_json(payload -> '$.review_needed', '[{"message": "VARCHAR", "affected_fields": ["VARCHAR"], "rows": ["VARCHAR"]}]') AS items
    FROM answers
    WHERE extracted_by = 'invoicedataextraction_com' AND payload IS NOT NULL
), items AS (
    SELECT document_sha256, generate_subscripts(items, 1) AS item_number, unnest(items) AS i FROM note_lists
), item_invoices AS (
    SELECT i.document_sha256, i.item_number, r.ordinal
    FROM (SELECT document_sha256, item_number, TRY_CAST(unnest(i.rows) AS BIGINT) AS row_number FROM items) AS i
    JOIN stg_invoicedataextraction_com__rows AS r USING (document_sha256, row_number)
), all_notes AS (
    SELECT document_sha256, NULL AS ordinal, concat_ws(': ', clean_text(n.topic), clean_text(n.description)) AS note, false AS is_vague
    FROM (SELECT document_sha256, unnest(notes) AS n FROM note_lists)
    UNION ALL
    SELECT document_sha256, ordinal, concat_ws(': ', clean_text(array_to_string(i.affected_fields, ', ')), clean_text(i.message)) AS note,
           coalesce(len(list_filter(i.affected_fields, lambda f: clean_text(f) IS NOT NULL)), 0) = 0 AS is_vague
    FROM items LEFT JOIN item_invoices USING (document_sha256, item_number)
    UNION ALL
    SELECT document_sha256, ordinal, review_needed AS note, lower(review_needed) IN ('yes', 'y', 'true', '1', 'x') AS is_vague
    FROM stg_invoicedataextraction_com__rows
    WHERE lower(review_needed) NOT IN ('no', 'n', 'false', '0', '-', 'none')
)
SELECT DISTINCT
    n.document_sha256,
    i.ordinal,
    coalesce(nullif(n.note, ''), 'no reason given') AS note,
    n.is_vague OR mentions_money(n.note) AS is_about_money
FROM all_notes AS n
JOIN stg_invoicedataextraction_com__invoices AS i ON i.document_sha256 = n.document_sha256 AND i.ordinal = coalesce(n.ordinal, i.ordinal)
