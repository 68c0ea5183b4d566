-- Grain: one per stated value that is no exact date, amount or quantity of ours; the text is cut for the message.
WITH said AS (
    SELECT c.invoice_id, 0 AS place, unnest([
        {kind: 'DATE', field: 'issued_on', said: s.issued_on, is_read: c.issued_on IS NOT NULL},
        {kind: 'DATE', field: 'due_on', said: s.due_on, is_read: c.due_on IS NOT NULL},
        {kind: 'AMOUNT', field: 'line_total_amount', said: s.line_total_amount, is_read: c.line_total_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'discount_amount', said: s.discount_amount, is_read: c.discount_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'charge_amount', said: s.charge_amount, is_read: c.charge_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'net_amount', said: s.net_amount, is_read: c.net_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax_amount', said: s.tax_amount, is_read: c.tax_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'total_amount', said: s.total_amount, is_read: c.total_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'prepaid_amount', said: s.prepaid_amount, is_read: c.prepaid_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'rounding_amount', said: s.rounding_amount, is_read: c.rounding_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'payable_amount', said: s.payable_amount, is_read: c.payable_amount IS NOT NULL}
    ], recursive := true)
    FROM candidates AS c JOIN stated_candidates AS s USING (invoice_id)
    UNION ALL
    SELECT c.invoice_id, c.line_number AS place, unnest([
        {kind: 'AMOUNT', field: 'line net_amount', said: s.net_amount, is_read: c.net_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'line tax_rate', said: s.tax_rate, is_read: c.tax_rate IS NOT NULL},
        {kind: 'QUANTITY', field: 'line quantity', said: s.quantity, is_read: c.quantity IS NOT NULL},
        {kind: 'QUANTITY', field: 'line unit_price_amount', said: s.unit_price_amount, is_read: c.unit_price_amount IS NOT NULL}
    ], recursive := true)
    FROM candidate_lines AS c JOIN stated_lines AS s USING (invoice_id, line_number)
    UNION ALL
    SELECT c.invoice_id, c.tax_number AS place, unnest([
        {kind: 'AMOUNT', field: 'tax taxable_amount', said: s.taxable_amount, is_read: c.taxable_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax tax_amount', said: s.tax_amount, is_read: c.tax_amount IS NOT NULL},
        {kind: 'AMOUNT', field: 'tax tax_rate', said: s.tax_rate, is_read: c.tax_rate IS NOT NULL}
    ], recursive := true)
    FROM candidate_taxes AS c JOIN stated_taxes AS s USING (invoice_id, tax_number)
)
SELECT invoice_id, place, kind, field, said[:60] AS said
FROM said
WHERE said IS NOT NULL AND NOT is_read
