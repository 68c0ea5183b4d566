-- Grain: one per candidate and rule about duplicates.
SELECT c.invoice_id, unnest([
    {rule_id: 'DUPLICATE-CONTENT', outcome: decide_outcome(d.invoice_id IS NOT NULL, same_invoice_id IS NULL),
     message: format('states the same as the earlier invoice {}', same_invoice_id)},
    {rule_id: 'DUPLICATE-NUMBER', outcome: decide_outcome(d.invoice_id IS NOT NULL AND same_invoice_id IS NULL,
        other_invoice_id IS NULL),
     message: format('the earlier invoice {} has the same supplier and number {}, but different content', other_invoice_id,
                     c.invoice_number)}
], recursive := true)
FROM candidates AS c
LEFT JOIN candidate_duplicates AS d USING (invoice_id)
