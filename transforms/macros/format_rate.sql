-- A rate for a message, without zeros at the end: 19 and 7.7.
CREATE MACRO format_rate(rate) AS regexp_replace(rate::VARCHAR, '\.?0+$', '')
