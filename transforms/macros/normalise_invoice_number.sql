-- An invoice number for comparing: upper case, without white space; its punctuation and zeros are part of it.
CREATE MACRO normalise_invoice_number(value) AS nullif(regexp_replace(upper(value), '\s', '', 'g'), '')
