-- Grain: one per candidate and rule about its extraction. An answer that the extractor calls a success may still be incomplete.
WITH uncertainties AS (
    SELECT document_sha256, ordinal,
           count(*) FILTER (WHERE is_about_money) AS money_note_count, count(*) FILTER (WHERE NOT is_about_money) AS other_note_count,
           string_agg(note[:200], '; ' ORDER BY note) FILTER (WHERE is_about_money) AS money_notes,
           string_agg(note[:200], '; ' ORDER BY note) FILTER (WHERE NOT is_about_money) AS other_notes
    FROM stg_invoicedataextraction_com__uncertainties GROUP BY document_sha256, ordinal
), contradictions AS (
    SELECT document_sha256, ordinal, string_agg(format('{}: {}', field, stated_values), '; ' ORDER BY field) AS contradictory_fields
    FROM stg_invoicedataextraction_com__header WHERE value_count > 1 GROUP BY document_sha256, ordinal
), stored_at_vendor AS (
    SELECT document_sha256, clean_text(payload ->> '$.meta.invoiceId') AS stored_id,
           coalesce(lower(payload ->> '$.meta.source') = 'duplicate' OR lower(payload ->> '$.meta.duplicate') = 'true', false)
               AS is_stored_before
    FROM answers WHERE extracted_by = 'billflowai'
), embedded AS (
    SELECT document_sha256, payload ->> '$.doubts.embedded_malware' AS malware,
           payload ->> '$.doubts.embedded_active_content' AS active_content
    FROM answers WHERE extracted_by = 'einvoice' AND (payload ->> '$.attachments') IS NOT NULL
), einvoice_in_pdf AS (
    SELECT document_sha256, payload ->> '$.doubts.xml_pdf_mismatch' AS mismatch,
           payload ->> '$.doubts.hidden_text' AS hidden_text, payload ->> '$.doubts.broken_signature' AS broken_signature
    FROM answers WHERE extracted_by = 'einvoice' AND (payload ->> '$.source') = 'pdf_attachment'
)
SELECT c.invoice_id, unnest([
    {rule_id: 'PAGES-READ', outcome: decide_outcome(p.document_sha256 IS NOT NULL,
        failed_count = 0 AND read_count >= coalesce(page_count, 0)),
     message: concat(format('{} of {} pages were read', read_count, coalesce(page_count, read_count + failed_count)),
        '; not read: ' || nullif(failed_pages, ''))},
    {rule_id: 'EXTRACTOR-SURE', outcome: decide_outcome(p.document_sha256 IS NOT NULL, coalesce(money_note_count, 0) = 0),
     message: 'the extractor is not sure: ' || money_notes[:500]},
    {rule_id: 'EXTRACTOR-NOTE', outcome: decide_outcome(p.document_sha256 IS NOT NULL, coalesce(other_note_count, 0) = 0),
     message: 'the extractor notes: ' || other_notes[:500]},
    {rule_id: 'SAME-HEADER', outcome: decide_outcome(p.document_sha256 IS NOT NULL, contradictory_fields IS NULL),
     message: 'the rows of this invoice contradict each other: ' || contradictory_fields[:500]},
    {rule_id: 'EXTRACTOR-DUPLICATE', outcome: decide_outcome(v.document_sha256 IS NOT NULL, NOT is_stored_before),
     message: format('the vendor already has an invoice {}{}; two suppliers can use the same number: compare supplier, date and total',
        coalesce(c.invoice_number, 'without a number'), coalesce(' (its id: ' || stored_id || ')', ''))},
    {rule_id: 'EMBEDDED-MALWARE', outcome: decide_outcome(f.document_sha256 IS NOT NULL, malware IS NULL), message: malware},
    {rule_id: 'EMBEDDED-ACTIVE', outcome: decide_outcome(f.document_sha256 IS NOT NULL, active_content IS NULL), message: active_content},
    {rule_id: 'XML-PDF-MISMATCH', outcome: decide_outcome(e.document_sha256 IS NOT NULL, mismatch IS NULL), message: mismatch},
    {rule_id: 'HIDDEN-TEXT', outcome: decide_outcome(e.document_sha256 IS NOT NULL, hidden_text IS NULL), message: hidden_text},
    {rule_id: 'BROKEN-SIGNATURE', outcome: decide_outcome(e.document_sha256 IS NOT NULL, broken_signature IS NULL), message: broken_signature}
], recursive := true)
FROM candidates AS c
LEFT JOIN stg_invoicedataextraction_com__pages AS p USING (document_sha256)
LEFT JOIN uncertainties AS u USING (document_sha256, ordinal)
LEFT JOIN contradictions USING (document_sha256, ordinal)
LEFT JOIN stored_at_vendor AS v USING (document_sha256)
LEFT JOIN embedded AS f USING (document_sha256)
LEFT JOIN einvoice_in_pdf AS e USING (document_sha256)
