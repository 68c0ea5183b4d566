-- Grain: one per item that BillflowAI found in a document; amounts are normalised texts. An item of text alone is
-- an information line. Where all amounts of a document include the tax, those of its items are not net amounts.
SELECT
    document_sha256,
    1 AS ordinal,
    row_number() OVER (PARTITION BY document_sha256 ORDER BY place) AS line_number,
    CASE WHEN coalesce(quantity, price, amount) IS NULL THEN 'information' ELSE 'detail' END AS line_kind,
    description,
    quantity,
    CASE WHEN NOT includes_tax THEN price END AS unit_price_amount,
    CASE WHEN NOT includes_tax THEN amount END AS net_amount
FROM (SELECT *, is_tax_inclusive AND NOT are_items_net AND NOT is_taxed_after_discount AS includes_tax
      FROM stg_billflowai__items JOIN stg_billflowai__totals USING (document_sha256))
