-- Grain: one per candidate and key by which it is found when it arrives again in other bytes; what looks for it is in
-- sought_keys. Without a number no duplicate is recognised: two receipts of one shop, one day and one price are two
-- receipts. The keys are stored, and compared with those of later batches, so what is hashed must not change.
WITH identities AS (
    SELECT *, unnest(numbers) AS number FROM candidate_identities
), offered AS (
    SELECT invoice_id, duplicate_key('tax id', tax_id, number, kind_class) AS key
    FROM (SELECT *, unnest(tax_ids) AS tax_id FROM identities)
    UNION ALL
    SELECT invoice_id, duplicate_key('iban ' || vat_class, iban_and_total, number, kind_class) AS key FROM identities
    UNION ALL
    SELECT invoice_id, duplicate_key('name ' || vat_class, name, number, kind_class) AS key FROM identities
    UNION ALL
    SELECT invoice_id, duplicate_key('total ' || vat_class, name_and_total, number, kind_class) AS key
    FROM identities WHERE vat_class != 'none'
    UNION ALL
    SELECT invoice_id, content_key AS key FROM candidate_contents
)
SELECT DISTINCT invoice_id, key FROM offered WHERE key IS NOT NULL ORDER BY invoice_id, key
