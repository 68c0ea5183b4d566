-- Grain: one per invoice stated in an e-invoice document; amounts and dates still as texts.
WITH found AS (
    SELECT document_sha256, parsed.syntax AS syntax, parsed.profile AS profile,
           unnest(parsed.invoices) AS i, generate_subscripts(parsed.invoices, 1) AS ordinal
    FROM stg_einvoice__answers
)
SELECT
    document_sha256,
    ordinal,
    stated(syntax) AS syntax,
    coalesce(stated(profile), 'other') AS profile,
    stated(i.kind) AS kind,
    stated(i.type_code) AS type_code,
    stated(i.invoice_number) AS invoice_number,
    stated(i.issue_date) AS issued_on,
    stated(i.due_date) AS due_on,
    stated(i.period_start) AS period_started_on,
    stated(i.period_end) AS period_ended_on,
    stated(i.order_number) AS order_number,
    stated(i.seller.name) AS supplier_name,
    stated(i.seller.vat_id) AS supplier_vat_id,
    stated(i.seller.tax_number) AS supplier_tax_number,
    stated(i.seller.legal_id) AS supplier_legal_id,
    stated(i.seller.country) AS supplier_country,
    coalesce(stated(i.seller.country), stated(i.seller.city), stated(i.seller.postcode), stated(i.seller.line1))
        IS NOT NULL AS has_supplier_address,
    stated(i.iban) AS supplier_iban,
    stated(i.buyer.name) AS customer_name,
    coalesce(stated(i.buyer.vat_id), stated(i.buyer.tax_number)) AS customer_tax_id,
    stated(i.buyer.country) AS customer_country,
    coalesce(stated(i.buyer.country), stated(i.buyer.city), stated(i.buyer.postcode), stated(i.buyer.line1))
        IS NOT NULL AS has_customer_address,
    stated(i.currency) AS currency,
    stated(i.totals.line_total) AS line_total_amount,
    stated(i.totals.allowance_total) AS discount_amount,
    stated(i.totals.charge_total) AS charge_amount,
    stated(i.totals.tax_exclusive) AS net_amount,
    stated(i.totals.tax_total) AS tax_amount,
    stated(i.totals.tax_inclusive) AS total_amount,
    stated(i.totals.prepaid) AS prepaid_amount,
    stated(i.totals.rounding) AS rounding_amount,
    stated(i.totals.payable) AS payable_amount,
    stated(i.payment_terms) AS payment_terms
FROM found
