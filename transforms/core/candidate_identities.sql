-- Grain: one per candidate with an invoice number: who sent it and what its number is, in normal form. `position` is its
-- order of arrival. White space in a number separates or means nothing, so `numbers` has both forms. `tax_ids` has each id of
-- the supplier, also without the country; a text without five characters and a digit ("n/a") is no id. Only an e-invoice is
-- certain about its kind and a VAT id: a model that reads a page may take a credit note for an invoice and misread a digit.
WITH stated AS (
    SELECT
        c.invoice_id, c.invoice_number, c.kind, c.supplier_tax_id, c.supplier_name,
        row_number() OVER (ORDER BY s.sequence, c.document_sha256, c.ordinal) AS position,
        list_distinct([normalise_number_separators(c.invoice_number),
            normalise_number_separators(normalise_invoice_number(c.invoice_number))]) AS numbers,
        CASE WHEN c.extracted_by != 'einvoice' THEN 'any' WHEN c.kind = 'credit_note' THEN 'credit' ELSE 'invoice' END AS kind_class,
        c.extracted_by = 'einvoice' AS is_certain,
        [normalise_tax_id(id) FOR id IN [s.supplier_vat_id, s.supplier_tax_number]
            IF regexp_matches(normalise_tax_id(id), '[0-9]') AND length(normalise_tax_id(id)) >= 5] AS ids,
        s.supplier_vat_id IS NOT NULL AS has_vat_id,
        nullif(normalise_tax_id(c.supplier_iban), '') AS iban,
        normalise_name(c.supplier_name) AS name,
        abs(c.total_amount)::VARCHAR AS total
    FROM candidates AS c
    JOIN stated_candidates AS s USING (invoice_id)
    WHERE normalise_invoice_number(c.invoice_number) IS NOT NULL
)
SELECT
    * EXCLUDE (ids, has_vat_id, is_certain),
    list_sort(list_distinct(list_concat(ids, [id[3:] FOR id IN ids IF regexp_full_match(id, '[A-Z]{2}[A-Z0-9]{5,}')]))) AS tax_ids,
    CASE WHEN NOT has_vat_id OR len(ids) = 0 THEN 'none' WHEN is_certain THEN 'certain' ELSE 'uncertain' END AS vat_class,
    iban || chr(31) || total AS iban_and_total,
    name || chr(31) || total AS name_and_total
FROM stated
WHERE len(ids) > 0 OR name IS NOT NULL OR (iban IS NOT NULL AND total IS NOT NULL)
