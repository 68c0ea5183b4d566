-- An invoice number for comparison: upper case, without white space and invisible characters. Punctuation and zeros stay.
CREATE MACRO normalise_invoice_number(value) AS nullif(regexp_replace(upper(value), '[\s\p{Z}\p{Cf}]', '', 'g'), '')
