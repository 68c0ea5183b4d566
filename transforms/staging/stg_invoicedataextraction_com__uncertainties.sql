-- Grain: one per invoice and thing that the extractor was not sure of: an uncertainty note, an item for review, a row
-- marked. An item counts for the invoices whose rows it names, for all if it names none of them.
WITH found AS (
    SELECT
        document_sha256,
        from_json(payload -> '$.uncertainty_notes', '[{"topic": "VARCHAR", "description": "VARCHAR"}]') AS notes,
        from_json(payload -> '$.review_needed', '[{"message": "VARCHAR", "affected_fields": ["VARCHAR"], "rows": ["VARCHAR"]}]') AS items
    FROM answers
    WHERE extracted_by = 'invoicedataextraction_com' AND payload IS NOT NULL
), items AS (
    SELECT document_sha256, generate_subscripts(items, 1) AS place, unnest(items) AS i FROM found
), named AS (
    SELECT i.document_sha256, i.place, r.ordinal
    FROM (SELECT document_sha256, place, TRY_CAST(unnest(i.rows) AS BIGINT) AS row_number FROM items) AS i
    JOIN stg_invoicedataextraction_com__rows AS r USING (document_sha256, row_number)
), told AS (
    SELECT document_sha256, NULL AS ordinal, concat_ws(': ', clean_text(n.topic), clean_text(n.description)) AS said, false AS is_vague
    FROM (SELECT document_sha256, unnest(notes) AS n FROM found)
    UNION ALL
    SELECT document_sha256, ordinal, concat_ws(': ', clean_text(array_to_string(i.affected_fields, ', ')), clean_text(i.message)) AS said,
           coalesce(len(list_filter(i.affected_fields, lambda f: clean_text(f) IS NOT NULL)), 0) = 0 AS is_vague
    FROM items LEFT JOIN named USING (document_sha256, place)
    UNION ALL
    SELECT document_sha256, ordinal, review_needed AS said, lower(review_needed) IN ('yes', 'y', 'true', '1', 'x') AS is_vague
    FROM stg_invoicedataextraction_com__rows
    WHERE lower(review_needed) NOT IN ('no', 'n', 'false', '0', '-', 'none')
)
SELECT DISTINCT
    t.document_sha256,
    i.ordinal,
    coalesce(nullif(t.said, ''), 'no words') AS said,
    t.is_vague OR mentions_money(t.said) AS is_about_money
FROM told AS t
JOIN stg_invoicedataextraction_com__invoices AS i ON i.document_sha256 = t.document_sha256 AND i.ordinal = coalesce(t.ordinal, i.ordinal)
