-- What a ledger may have besides what govern gives it: each of its rows, written for one
-- fate or for many, has to meet it as it meets an INSERT.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_ledger_rows;
SET search_path = test_ledger_rows, public;
SET petition_cas.actor = 'anna';
CREATE TABLE t (tenant int, id numeric(6, 2), state text NOT NULL DEFAULT 'open', PRIMARY KEY (tenant, id));
SELECT govern('t', '{"open": ["won", "lost"]}');
INSERT INTO t SELECT n % 2, n / 4.0 FROM generate_series(1, 1000) n;

-- Decides a row alone and then 250 together, and tells what came of each.
CREATE FUNCTION keys(first int, last int) RETURNS text[] LANGUAGE sql AS
    $$ SELECT array_agg(format('[%s, %s]', n % 2, round(n / 4.0, 2)) ORDER BY md5(n::text)) FROM generate_series(first, last) n $$;
CREATE PROCEDURE decide(first int) LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN SELECT left(t, 150) FROM told(format('SELECT (compare_and_swap(NULL::t, (keys(%s, %1$s))[1], %L, %L)).state', first, 'open', 'won')) t
        UNION ALL SELECT left(t, 150) FROM told(format('SELECT count(*) FROM compare_and_swap_many(NULL::t, keys(%s, %s), %L, %L, reason => %L) WHERE outcome = %L',
            first + 1, first + 250, 'open', 'lost', 'many', 'assigned')) t LOOP
        RAISE NOTICE '%', regexp_replace(line, '(for|key|row|contains) .*', '\1 ...');
    END LOOP;
END $$;
CREATE VIEW recorded AS
SELECT fate, count(*), count(DISTINCT (tenant, id)) AS keys, from_state, assigned_by, reason, request_id, evidence_hash,
    bool_and(transaction_id = pg_current_xact_id() AND assigned_at = now()) AS now
FROM t_fates GROUP BY 1, 4, 5, 6, 7, 8 ORDER BY 1;
SET client_min_messages = notice;

-- As govern made it.
BEGIN;
CALL decide(1);
SELECT * FROM recorded;
SELECT (SELECT array_agg(f.* ORDER BY id) FROM (SELECT tenant, id, state FROM t WHERE state <> 'open') f)
    = (SELECT array_agg(f.* ORDER BY id) FROM (SELECT tenant, id, fate FROM t_fates) f) AS same;
SET enable_seqscan = off;
SELECT count(*) FROM generate_series(1, 251) n JOIN t_fates ON tenant = n % 2 AND id = n / 4.0;
RESET enable_seqscan;
SELECT verify_fates('t');
CALL decide(1);
ROLLBACK;

-- Further columns have their defaults, also where one was dropped.
BEGIN;
ALTER TABLE t_fates ADD note text DEFAULT 'noted', ADD gone int DEFAULT 1;
ALTER TABLE t_fates DROP gone;
CALL decide(1);
SELECT note, count(*) FROM t_fates GROUP BY 1;
ROLLBACK;
BEGIN;
ALTER TABLE t_fates ADD other text GENERATED ALWAYS AS (fate || '!') STORED;
CALL decide(1);
SELECT other, count(*) FROM t_fates GROUP BY 1 ORDER BY 1;
ROLLBACK;

-- A CHECK.
BEGIN;
ALTER TABLE t_fates ADD CONSTRAINT not_lost CHECK (fate <> 'lost');
CALL decide(1);
SELECT * FROM recorded;
ROLLBACK;

-- Indexes: on an expression, a unique one of the user's, one that is checked later.
BEGIN;
CREATE INDEX by_text ON t_fates ((fate || reason)) WHERE reason IS NOT NULL;
CALL decide(1);
SET enable_seqscan = off;
SELECT count(*) FROM t_fates WHERE fate || reason = 'lostmany' AND reason IS NOT NULL;
RESET enable_seqscan;
CREATE UNIQUE INDEX just_one ON t_fates ((id > 100)) WHERE id > 100;
CALL decide(501);
ROLLBACK;
BEGIN;
ALTER TABLE t_fates ADD UNIQUE (assigned_at) DEFERRABLE INITIALLY DEFERRED;
CALL decide(1);
SELECT left(t, 70) FROM told('SET CONSTRAINTS ALL IMMEDIATE') t WHERE t !~ '^  ';
ROLLBACK;

-- Triggers of other kinds than those before a row, and row security.
BEGIN;
CREATE TABLE seen (fate text);
CREATE FUNCTION sees() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO seen SELECT fate FROM new_rows; RETURN NULL; END';
CREATE TRIGGER sees AFTER INSERT ON t_fates REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION sees();
CALL decide(1);
SELECT fate, count(*) FROM seen GROUP BY 1 ORDER BY 1;
ROLLBACK;
BEGIN;
ALTER TABLE t_fates ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CALL decide(1);
SELECT * FROM recorded;
ROLLBACK;

-- An owner who may not write it.
CREATE ROLE regress_owner;
GRANT ALL ON SCHEMA test_ledger_rows TO regress_owner;
BEGIN;
ALTER TABLE t OWNER TO regress_owner;
CALL decide(1);
SELECT * FROM recorded;
REVOKE INSERT ON t_fates FROM regress_owner;
CALL decide(300);
ROLLBACK;

-- Columns in another order, as of a ledger that is taken over.
BEGIN;
SELECT ungovern('t');
CREATE TABLE taken (reason text, fate text NOT NULL, id numeric(6, 2), request_id text, evidence_hash text, from_state text,
    assigned_at timestamptz NOT NULL, transaction_id xid8 NOT NULL, assigned_by text NOT NULL, tenant int, PRIMARY KEY (tenant, id));
DROP TABLE t_fates CASCADE;
ALTER TABLE taken RENAME TO t_fates;
SELECT govern('t', '{"open": ["won", "lost"]}');
CALL decide(1);
SELECT fate, count(*), from_state, assigned_by, reason FROM t_fates GROUP BY 1, 3, 4, 5 ORDER BY 1;
SELECT verify_fates('t');
ROLLBACK;
DROP OWNED BY regress_owner;
DROP ROLE regress_owner;
