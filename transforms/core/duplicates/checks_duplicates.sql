-- Grain: one per candidate and rule about duplicates.
SELECT c.invoice_id, unnest([
    {rule_id: 'DUPLICATE-CONTENT', outcome: decide_outcome(d.invoice_id IS NOT NULL,
        NOT coalesce(relation = 'same_content' AND is_decided, false)),
     message: format('states the same as the earlier invoice {}', duplicate_of)},
    {rule_id: 'DUPLICATE-UNDECIDED', outcome: decide_outcome(d.invoice_id IS NOT NULL,
        NOT coalesce(relation = 'same_content' AND NOT is_decided, false)),
     message: format('states the same as the earlier invoice {}, which is in review; once that one is decided, so is this one',
                     duplicate_of)},
    {rule_id: 'DUPLICATE-NUMBER', outcome: decide_outcome(d.invoice_id IS NOT NULL AND relation IS DISTINCT FROM 'same_content',
        duplicate_of IS NULL),
     message: format('the earlier invoice {} has the same supplier and number {}, but different content', duplicate_of,
                     c.invoice_number)}
], recursive := true)
FROM candidates AS c
LEFT JOIN candidate_duplicates AS d USING (invoice_id)
