-- Grain: one per item that BillflowAI found in a document; amounts as texts with one reading. An item of words alone is a
-- remark. Where all amounts of a document contain the tax, those of its items are no net amounts.
SELECT
    document_sha256,
    1 AS ordinal,
    row_number() OVER (PARTITION BY document_sha256 ORDER BY place) AS line_number,
    CASE WHEN coalesce(quantity, price, amount) IS NULL THEN 'information' ELSE 'detail' END AS line_kind,
    description,
    quantity,
    CASE WHEN NOT contains_tax THEN price END AS unit_price_amount,
    CASE WHEN NOT contains_tax THEN amount END AS net_amount
FROM (SELECT *, is_tax_inclusive AND NOT is_sum_of_items AND NOT is_taxed_after_discount AS contains_tax
      FROM stg_billflowai__items JOIN stg_billflowai__totals USING (document_sha256))
