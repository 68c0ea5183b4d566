-- Grain: one per stated value that is not an exact date, amount or quantity. The text is cut to 60 characters.
-- `item_number` is the number of the line or tax category; 0 for a header field. `field` and `stated_text` are part of
-- content_key in candidate_keys and must not change.
WITH stated AS (
    SELECT c.invoice_id, 0 AS item_number, unnest([
        {kind: 'DATE', field: 'issued_on', stated_text: s.issued_on, is_parsed: c.issued_on IS NOT NULL},
        {kind: 'DATE', field: 'due_on', stated_text: s.due_on, is_parsed: c.due_on IS NOT NULL},
        {kind: 'AMOUNT', field: 'line_total_amount', stated_text: s.line_total_amount, is_parsed: c.line_total_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'discount_amount', stated_text: s.discount_amount, is_parsed: c.discount_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'charge_amount', stated_text: s.charge_amount, is_parsed: c.charge_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'net_amount', stated_text: s.net_amount, is_parsed: c.net_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax_amount', stated_text: s.tax_amount, is_parsed: c.tax_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'total_amount', stated_text: s.total_amount, is_parsed: c.total_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'prepaid_amount', stated_text: s.prepaid_amount, is_parsed: c.prepaid_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'rounding_amount', stated_text: s.rounding_amount, is_parsed: c.rounding_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'payable_amount', stated_text: s.payable_amount, is_parsed: c.payable_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'other_tax_amount', stated_text: s.other_tax_amount, is_parsed: c.other_tax_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'withheld_amount', stated_text: s.withheld_amount, is_parsed: c.withheld_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'withheld_in_total_amount', stated_text: s.withheld_in_total_amount,
         is_parsed: c.withheld_in_total_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'added_after_total_amount', stated_text: s.added_after_total_amount,
         is_parsed: c.added_after_total_amount IS NOT NULL}
    ], recursive := true)
    FROM candidates AS c JOIN stated_candidates AS s USING (invoice_id)
    UNION ALL
    SELECT c.invoice_id, c.line_number AS item_number, unnest([
        {kind: 'AMOUNT', field: 'line net_amount', stated_text: s.net_amount, is_parsed: c.net_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'line tax_rate', stated_text: s.tax_rate, is_parsed: c.tax_rate IS NOT NULL},
        {kind: 'QUANTITY', field: 'line quantity', stated_text: s.quantity, is_parsed: c.quantity IS NOT NULL},
        {kind: 'QUANTITY', field: 'line unit_price_amount', stated_text: s.unit_price_amount, is_parsed: c.unit_price_amount IS NOT NULL}
    ], recursive := true)
    FROM candidate_lines AS c JOIN stated_lines AS s USING (invoice_id, line_number)
    UNION ALL
    SELECT c.invoice_id, c.tax_number AS item_number, unnest([
        {kind: 'AMOUNT', field: 'tax taxable_amount', stated_text: s.taxable_amount, is_parsed: c.taxable_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax tax_amount', stated_text: s.tax_amount, is_parsed: c.tax_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax tax_rate', stated_text: s.tax_rate, is_parsed: c.tax_rate IS NOT NULL}
    ], recursive := true)
    FROM candidate_taxes AS c JOIN stated_taxes AS s USING (invoice_id, tax_number)
)
SELECT invoice_id, item_number, kind, field, stated_text[:60] AS stated_text
FROM stated
WHERE stated_text IS NOT NULL AND NOT is_parsed
