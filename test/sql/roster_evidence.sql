-- A roster of contents: key and evidence in one id, of keys that have spaces and of
-- several columns. test/specs/roster_contents.spec races it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
CREATE TABLE order_line (client text, line int, state text NOT NULL DEFAULT 'open', amount numeric, remark text, PRIMARY KEY (client, line));
SELECT govern('order_line', '{"open": ["paid", "void"]}', evidence => '{amount,remark}');
INSERT INTO order_line VALUES ('A  b ', 1, 'open', 1.5, NULL), ('A  b ', 2, 'open', 2, 'é'), (E'new\nline "q"', 1, 'open', NULL, NULL), ('', 7, 'open', 3, NULL);
CREATE VIEW order_line_seen AS SELECT (row_key(o) || ' ' || evidence_hash(o)) COLLATE "C" AS seen, o.* FROM order_line AS o;
CREATE FUNCTION pay(filter text, hash text) RETURNS TABLE (key text, outcome text) LANGUAGE sql BEGIN ATOMIC
	SELECT s.key, s.outcome
	FROM compare_and_swap_many(null::order_line, ARRAY(
		SELECT left(id, -65) FROM claim_roster('order_line_seen', filter, null::text[], hash, key_column => 'seen'), unnest(resolved_ids) AS id),
		'open', 'paid') AS s;
END;

SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster('order_line_seen', 'state:open', key_column => 'seen') \gset
SELECT left(id, -65) AS key, right(id, 64) = evidence_hash(o) AS hash FROM unnest(:'ids'::text[]) AS id JOIN order_line AS o ON row_key(o) = left(id, -65)
ORDER BY key COLLATE "C";
-- an edit of what a decision rests on, be it to another text form of an equal value
UPDATE order_line SET amount = 1.50 WHERE line = 1 AND client = 'A  b ';
SELECT * FROM pay('state:open', :'hash');
SELECT valid, (SELECT array_agg(left(id, -65)) FROM unnest(added) AS id) AS added, (SELECT array_agg(left(id, -65)) FROM unnest(removed) AS id) AS removed
FROM validate_roster('order_line_seen', 'state:open', :'ids', :'hash', key_column => 'seen');
-- decided as seen
SELECT resolved_ids AS ids, roster_hash AS hash FROM resolve_roster('order_line_seen', 'state:open', key_column => 'seen') \gset
SELECT * FROM pay('state:open', :'hash');
SELECT count(*) FROM order_line_fates AS f WHERE jsonb_build_array(client, line::text)::text || ' ' || evidence_hash = ANY (:'ids');
-- of nobody
SELECT * FROM pay('state:open', roster_hash('{}'::text[]));
-- a hash of other rows
SELECT * FROM pay('state:paid amount:*', :'hash');

DROP FUNCTION pay;
DROP VIEW order_line_seen;
DROP TABLE order_line, order_line_fates;
