-- Grain: one per invoice in a document, with the values that the document states. A value that cannot be parsed exactly
-- is NULL here and listed in unparsed_values.
SELECT
    invoice_id,
    document_sha256,
    ordinal::INTEGER AS ordinal,
    extraction_id,
    extracted_by,
    profile,
    coalesce(kind, 'invoice') AS kind,
    CASE WHEN normalise_tax_id(supplier_vat_id) IN (SELECT normalise_tax_id(tax_id) FROM company_tax_ids)
           OR normalise_tax_id(supplier_tax_number) IN (SELECT normalise_tax_id(tax_id) FROM company_tax_ids)
         THEN 'revenue' ELSE 'expense' END AS direction,
    type_code,
    invoice_number,
    parse_date(issued_on) AS issued_on,
    parse_date(due_on) AS due_on,
    order_number,
    supplier_name,
    coalesce(supplier_vat_id, supplier_tax_number) AS supplier_tax_id,
    supplier_country,
    supplier_iban,
    customer_name,
    customer_tax_id,
    customer_country,
    upper(currency) AS currency,
    parse_amount(line_total_amount) AS line_total_amount, -- BT-106
    parse_amount(discount_amount) AS discount_amount, -- BT-107
    parse_amount(charge_amount) AS charge_amount, -- BT-108
    parse_amount(net_amount) AS net_amount, -- BT-109
    parse_amount(tax_amount) AS tax_amount, -- BT-110
    parse_amount(total_amount) AS total_amount, -- BT-112
    parse_amount(prepaid_amount) AS prepaid_amount, -- BT-113
    parse_amount(rounding_amount) AS rounding_amount, -- BT-114
    parse_amount(payable_amount) AS payable_amount, -- BT-115
    parse_amount(other_tax_amount) AS other_tax_amount, -- in the total, not in BT-110
    parse_amount(withheld_amount) AS withheld_amount, -- the buyer pays it to the tax authority
    parse_amount(withheld_in_total_amount) AS withheld_in_total_amount, -- the part of it that the total does not include
    parse_amount(added_after_total_amount) AS added_after_total_amount,
    payment_terms,
    supplier_tax_number, -- BT-32
    supplier_legal_id AS supplier_registration_id, -- BT-30
    customer_tax_number,
    customer_legal_id AS customer_registration_id, -- BT-47
    payee_name, -- BT-59
    payment_reference, -- BT-83
    nullif(array_to_string(list_sort([id FOR id IN account_ids
        IF normalise_tax_id(id) IS DISTINCT FROM normalise_tax_id(supplier_iban)]), ', '), '') AS further_accounts, -- BT-84
    parse_date(delivered_on) AS delivered_on, -- BT-72
    buyer_reference, -- BT-10
    note, -- BT-22
    attachment_names, -- BT-125
    received_at
FROM stated_candidates
ORDER BY sequence, document_sha256, ordinal
