-- An invoice number for comparing: upper case, without white space; its punctuation and zeros are part of it.
CREATE MACRO folded_number(said) AS nullif(regexp_replace(upper(said), '\s', '', 'g'), '')
