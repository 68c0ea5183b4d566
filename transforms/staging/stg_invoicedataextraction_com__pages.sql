-- Grain: one per answer of invoicedataextraction.com: how many of the document's pages were read, which were not, and why.
WITH page_lists AS (
    SELECT
        document_sha256,
        TRY_CAST(payload ->> '$.page_count' AS INTEGER) AS page_count,
        coalesce(len(list_distinct(from_json(payload -> '$.pages.read', '["VARCHAR"]'))), 0) AS read_count,
        from_json(payload -> '$.pages.failed', '[{"page": "VARCHAR", "code": "VARCHAR", "message": "VARCHAR"}]') AS failed_list
    FROM answers
    WHERE extracted_by = 'invoicedataextraction_com' AND payload IS NOT NULL
)
SELECT
    document_sha256,
    page_count,
    read_count,
    coalesce(len(failed_list), 0) AS failed_count,
    array_to_string([format('page {} ({})', coalesce(clean_text(f.page), '?'),
        coalesce(nullif(concat_ws(': ', clean_text(f.code), clean_text(f.message)), ''), 'no reason given')) FOR f IN failed_list], ', ')[:400] AS failed_pages
FROM page_lists
