-- A schema for each tenant: the search_path chooses, and renames of schemas
-- never lead a kept statement into another tenant's table or ledger.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA test_rename_schemas;
SET search_path = test_rename_schemas, public;

CREATE SCHEMA tenant_a;
CREATE SCHEMA tenant_b;
SET search_path = tenant_a, test_rename_schemas, public;
SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state, realm) SELECT pid(n), 'text', 'DELIBERATING', 'a' FROM generate_series(1, 20) n;
SET search_path = tenant_b, test_rename_schemas, public;
SELECT create_petitions();
INSERT INTO petition_submissions (id, text, state, realm) SELECT pid(n), 'text', 'DELIBERATING', 'b' FROM generate_series(1, 20) n;

-- The first on the search_path is the caller's.
SET search_path = tenant_a, tenant_b, public;
SELECT realm FROM assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SET search_path = tenant_b, tenant_a, public;
SELECT realm FROM assign_fate(pid(1), 'DELIBERATING', 'ESCALATED');
SELECT (compare_and_swap(NULL::tenant_a.petition_submissions, pid(2)::text, 'DELIBERATING', 'REFERRED')).realm;
-- A temporary table in front is none that is governed.
CREATE TEMPORARY TABLE petition_submissions (LIKE tenant_a.petition_submissions);
SELECT told($$ SELECT assign_fate(pid(3), 'DELIBERATING', 'REFERRED') $$);
DROP TABLE pg_temp.petition_submissions;

-- The two schemas change names.
SET search_path = tenant_a, public;
SELECT realm FROM assign_fate(pid(3), 'DELIBERATING', 'REFERRED');
ALTER SCHEMA tenant_a RENAME TO tenant_c;
ALTER SCHEMA tenant_b RENAME TO tenant_a;
ALTER SCHEMA tenant_c RENAME TO tenant_b;
SELECT realm FROM assign_fate(pid(4), 'DELIBERATING', 'REFERRED');
SELECT realm FROM assign_fate(pid(5), 'DELIBERATING', 'REFERRED', 'reason');
SELECT (compare_and_swap(NULL::tenant_b.petition_submissions, pid(6)::text, 'DELIBERATING', 'REFERRED')).realm;
SELECT * FROM try_assign_fate(pid(1), 'DELIBERATING', 'REFERRED');
SELECT outcome FROM assign_fates(ARRAY[pid(7)], 'DELIBERATING', 'REFERRED');
UPDATE petition_submissions SET state = 'REFERRED' WHERE id = pid(8);
UPDATE tenant_b.petition_submissions SET state = 'REFERRED' WHERE id = pid(9);
SELECT 'a' AS tenant, bool_and(p.realm = 'b') AS right_one, array_agg(right(f.id::text, 2) ORDER BY f.id)
FROM tenant_a.petition_submissions_fates f JOIN tenant_a.petition_submissions p USING (id)
UNION ALL
SELECT 'b', bool_and(p.realm = 'a'), array_agg(right(f.id::text, 2) ORDER BY f.id)
FROM tenant_b.petition_submissions_fates f JOIN tenant_b.petition_submissions p USING (id);
SELECT verify_fates('tenant_a.petition_submissions'), verify_fates('tenant_b.petition_submissions');

-- Only the ledgers change places, with the guard against DDL turned off.
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
ALTER TABLE tenant_a.petition_submissions_fates SET SCHEMA test_rename_schemas;
ALTER TABLE tenant_b.petition_submissions_fates SET SCHEMA tenant_a;
ALTER TABLE test_rename_schemas.petition_submissions_fates SET SCHEMA tenant_b;
-- ... what then is at odds, verify_fates tells.
SELECT count(*) FROM verify_fates('tenant_a.petition_submissions');
ROLLBACK;
SELECT verify_fates('tenant_a.petition_submissions'), verify_fates('tenant_b.petition_submissions');

-- Two tables of one schema change names: each keeps the ledger it had.
CREATE TABLE x (id int PRIMARY KEY, state text, which text DEFAULT 'x');
CREATE TABLE y (id int PRIMARY KEY, state text, which text DEFAULT 'y');
SELECT govern('x', '{"open": ["closed"]}'), govern('y', '{"open": ["closed"]}');
INSERT INTO x SELECT n, 'open' FROM generate_series(1, 5) n;
INSERT INTO y SELECT n, 'open' FROM generate_series(1, 5) n;
SELECT (compare_and_swap(NULL::x, '1', 'open', 'closed')).which, (compare_and_swap(NULL::y, '2', 'open', 'closed')).which;
ALTER TABLE x RENAME TO z;
ALTER TABLE y RENAME TO x;
ALTER TABLE z RENAME TO y;
SELECT (compare_and_swap(NULL::x, '3', 'open', 'closed')).which, (compare_and_swap(NULL::y, '4', 'open', 'closed')).which;
SELECT 'x', array_agg(id ORDER BY id) FROM x_fates UNION ALL SELECT 'y', array_agg(id ORDER BY id) FROM y_fates;
SELECT verify_fates('x'), verify_fates('y');

-- Many tenants in one session: more than are kept.
SET search_path = test_rename_schemas, public;
DO $$
BEGIN
    FOR n IN 1 .. 560 LOOP
        EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, state text)', n);
        PERFORM govern(format('many_%s', n)::regclass, '{"open": ["closed"]}');
        EXECUTE format('INSERT INTO many_%s VALUES (1, ''open''), (2, ''open'')', n);
        COMMIT;
    END LOOP;
    FOR i IN 1 .. 2 LOOP
        FOR n IN 1 .. 560 LOOP
            EXECUTE format('SELECT compare_and_swap(NULL::many_%s, %L, ''open'', ''closed'')', n, i);
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
-- As many are kept as may be, and gone are those that were used longest ago: one
-- with a large lifecycle, known by its memory, once as many others were used.
CREATE VIEW kept AS
SELECT count(*) AS tables, count(*) FILTER (WHERE total_bytes > 50000) AS large
FROM pg_backend_memory_contexts WHERE name = 'petition_cas governed table';
SELECT tables FROM kept;
CREATE TABLE large (id int PRIMARY KEY, state text);
SELECT govern('large', (SELECT jsonb_object_agg('state ' || n, jsonb_build_array('state ' || n + 1)) FROM generate_series(1, 500) n));
CREATE FUNCTION visit(from_table int, to_table int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN from_table .. to_table LOOP
        EXECUTE format('SELECT FROM try_compare_and_swap(NULL::many_%s, ''1'', ''open'', ''closed'')', n);
    END LOOP;
END $$;
SELECT FROM try_compare_and_swap(NULL::large, '1', 'state 1', 'state 2');
SELECT visit(1, 200), visit(1, 511);
SELECT * FROM kept;
SELECT visit(512, 512);
SELECT * FROM kept;
-- What is gone takes its prepared statements with it.
SELECT count(*) < 3 * 512 FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource';
SET petition_cas.allow_unguard = on;
DO $$
DECLARE fates int := 0; found int;
BEGIN
    FOR n IN 1 .. 560 LOOP
        EXECUTE format('SELECT count(*) FROM many_%s_fates', n) INTO found;
        fates := fates + found;
    END LOOP;
    RAISE WARNING '% fates', fates;
    FOR n IN 1 .. 560 LOOP
        EXECUTE format('DROP TABLE many_%s, many_%s_fates', n, n);
        COMMIT;
    END LOOP;
END $$;
