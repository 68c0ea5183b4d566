-- Grain: one per extractor whose answers a staging model reads (stg_<extractor>__invoices).
SELECT unnest(['einvoice', 'smartbills_com', 'invoicedataextraction_com', 'billflowai']) AS extracted_by
