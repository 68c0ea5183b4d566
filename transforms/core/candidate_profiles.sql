-- Grain: one per candidate: its row of profiles, and by a column per word of the document whether it can state it.
WITH ranked AS (
    SELECT c.invoice_id, c.extracted_by = 'einvoice' AS is_einvoice, p.*
    FROM stated_candidates AS c
    JOIN profiles AS p ON p.syntax IN (coalesce(c.syntax, c.extracted_by), '*') AND p.profile IN (c.profile, '*')
    QUALIFY row_number() OVER (PARTITION BY c.invoice_id ORDER BY p.syntax = '*', p.profile = '*') = 1
)
SELECT
    invoice_id, is_einvoice, lacks, rounding, item_tolerance,
    NOT list_contains(lacks, 'type_code') AS states_type_code,
    NOT list_contains(lacks, 'customer_name') AS states_customer_name,
    NOT list_contains(lacks, 'supplier_address') AS states_supplier_address,
    NOT list_contains(lacks, 'customer_address') AS states_customer_address,
    NOT list_contains(lacks, 'supplier_id') AS states_supplier_id,
    NOT list_contains(lacks, 'payment_terms') AS states_payment_terms,
    NOT list_contains(lacks, 'line_total') AS states_line_total,
    NOT list_contains(lacks, 'net_total') AS states_net_total,
    NOT list_contains(lacks, 'prepaid') AS states_prepaid,
    NOT list_contains(lacks, 'payable') AS states_payable,
    NOT list_contains(lacks, 'allowances') AS states_allowances,
    NOT list_contains(lacks, 'tax_breakdown') AS states_tax_breakdown,
    NOT list_contains(lacks, 'tax_category') AS states_tax_category,
    NOT list_contains(lacks, 'exemption_reason') AS states_exemption_reason,
    NOT list_contains(lacks, 'lines') AS states_lines,
    NOT list_contains(lacks, 'european_sums') AS has_european_sums
FROM ranked
