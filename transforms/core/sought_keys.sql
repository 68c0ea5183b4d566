-- Grain: one per candidate and key of candidate_keys that an earlier copy of it may have. `relation` is what the key shows:
-- same_content, or same_number of the same supplier. Suppliers are the same if they share a tax id, or an account and the
-- total, or a name (and the total, if both state a VAT id). Two e-invoices with two VAT ids have two suppliers: only a model
-- that reads a page may misread one. Kinds are the same unless two e-invoices state different ones.
-- Rows of ledgers before version 5 have only the first key of legacy_keys and the content key.
WITH identities AS (
    SELECT *, unnest(CASE kind_class WHEN 'any' THEN ['any', 'invoice', 'credit'] ELSE ['any', kind_class] END) AS sought_class
    FROM (SELECT *, unnest(numbers) AS number FROM candidate_identities)
), suppliers AS (
    SELECT invoice_id, 'tax id' AS kind_of_key, unnest(tax_ids) AS supplier, number, sought_class FROM identities
    UNION ALL
    SELECT invoice_id, 'iban ' || unnest(CASE vat_class WHEN 'certain' THEN ['none', 'uncertain'] ELSE ['none', 'certain', 'uncertain'] END),
           iban_and_total, number, sought_class FROM identities
    UNION ALL
    SELECT invoice_id, 'name ' || unnest(CASE vat_class WHEN 'none' THEN ['none', 'certain', 'uncertain'] ELSE ['none'] END),
           name, number, sought_class FROM identities
    UNION ALL
    SELECT invoice_id, 'total ' || unnest(CASE vat_class WHEN 'certain' THEN ['uncertain'] WHEN 'uncertain' THEN ['certain', 'uncertain'] END),
           name_and_total, number, sought_class FROM identities
), by_supplier AS (
    SELECT invoice_id, duplicate_key(kind_of_key, supplier, number, sought_class) AS key FROM suppliers
), legacy_keys AS (
    SELECT invoice_id, CASE WHEN supplier IS NOT NULL THEN sha256(concat_ws(chr(31), 'number', supplier,
        normalise_invoice_number(invoice_number), kind)) END AS key
    FROM (SELECT *, unnest([coalesce(normalise_tax_id(supplier_tax_id), name), name]) AS supplier FROM candidate_identities)
)
SELECT DISTINCT invoice_id, key, 'same_number' AS relation FROM (FROM by_supplier UNION ALL FROM legacy_keys) WHERE key IS NOT NULL
UNION ALL
SELECT invoice_id, content_key AS key, 'same_content' AS relation FROM candidate_contents
