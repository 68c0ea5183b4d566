-- Grain: one per invoice stated in an e-invoice document; amounts and dates are still texts.
WITH invoices AS (
    SELECT document_sha256, parsed.syntax AS syntax, parsed.profile AS profile, parsed.attachments AS attachments,
           unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
)
SELECT
    document_sha256,
    ordinal,
    clean_text(syntax) AS syntax,
    coalesce(clean_text(profile), 'other') AS profile,
    clean_text(i.kind) AS kind,
    clean_text(i.type_code) AS type_code,
    clean_text(i.invoice_number) AS invoice_number,
    clean_text(i.issue_date) AS issued_on,
    clean_text(i.due_date) AS due_on,
    clean_text(i.period_start) AS period_started_on,
    clean_text(i.period_end) AS period_ended_on,
    clean_text(i.order_number) AS order_number,
    clean_text(i.seller.name) AS supplier_name,
    clean_tax_id(i.seller.vat_id) AS supplier_vat_id,
    clean_tax_id(i.seller.tax_number) AS supplier_tax_number,
    clean_text(i.seller.legal_id) AS supplier_legal_id,
    clean_text(i.seller.country) AS supplier_country,
    coalesce(clean_text(i.seller.country), clean_text(i.seller.city), clean_text(i.seller.postcode), clean_text(i.seller.line1))
        IS NOT NULL AS has_supplier_address,
    clean_text(i.iban) AS supplier_iban,
    clean_text(i.buyer.name) AS customer_name,
    coalesce(clean_tax_id(i.buyer.vat_id), clean_tax_id(i.buyer.tax_number)) AS customer_tax_id,
    clean_tax_id(i.buyer.tax_number) AS customer_tax_number,
    clean_text(i.buyer.legal_id) AS customer_legal_id,
    clean_text(i.buyer.country) AS customer_country,
    coalesce(clean_text(i.buyer.country), clean_text(i.buyer.city), clean_text(i.buyer.postcode), clean_text(i.buyer.line1))
        IS NOT NULL AS has_customer_address,
    clean_text(i.currency) AS currency,
    clean_text(i.totals.line_total) AS line_total_amount,
    coalesce(clean_text(i.totals.allowance_total), f.discount_amount) AS discount_amount,
    coalesce(clean_text(i.totals.charge_total), f.charge_amount) AS charge_amount,
    coalesce(clean_text(i.totals.tax_exclusive), f.net_amount) AS net_amount,
    coalesce(clean_text(i.totals.tax_total), f.tax_amount) AS tax_amount,
    coalesce(clean_text(i.totals.tax_inclusive), f.total_amount) AS total_amount,
    clean_text(i.totals.prepaid) AS prepaid_amount,
    clean_text(i.totals.rounding) AS rounding_amount,
    coalesce(clean_text(i.totals.payable), f.payable_amount) AS payable_amount,
    coalesce(clean_text(i.totals.other_taxes), f.other_tax_amount) AS other_tax_amount,
    coalesce(clean_text(i.totals.withheld), f.withheld_amount) AS withheld_amount,
    coalesce(clean_text(i.totals.withheld_in_total), f.withheld_in_total_amount) AS withheld_in_total_amount,
    clean_text(i.totals.added_after_total) AS added_after_total_amount,
    clean_text(i.payment_terms) AS payment_terms,
    clean_text(i.delivery_date) AS delivered_on,
    clean_text(i.buyer_reference) AS buyer_reference,
    clean_text(i.note) AS note,
    clean_text(i.payee_name) AS payee_name,
    [clean_text(m.reference) FOR m IN i.payment_means IF clean_text(m.reference) IS NOT NULL][1] AS payment_reference,
    list_distinct([clean_text(m.iban) FOR m IN i.payment_means IF clean_text(m.iban) IS NOT NULL]) AS account_ids,
    array_to_string([clean_text(name) FOR name IN attachments], ', ') AS attachment_names,
    f.derived_totals
FROM invoices
LEFT JOIN stg_einvoice__fatturapa_totals AS f USING (document_sha256, ordinal)
