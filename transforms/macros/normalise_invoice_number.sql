-- An invoice number for comparison: upper case, without white space. Punctuation and zeros stay.
CREATE MACRO normalise_invoice_number(value) AS nullif(regexp_replace(upper(value), '\s', '', 'g'), '')
