-- Tables as Citus has them on its nodes: what is called t there, its ledger and its
-- triggers is, on a shard, called the same with the shard's number behind it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA shards;
SET search_path = shards, public;

CREATE TABLE t (id int PRIMARY KEY, state text DEFAULT 'open', note text);
SELECT govern('t', '{"open": ["won", "lost"]}');

-- Gives a table, which is there, the triggers of a shard.
CREATE FUNCTION guard(shard text, number bigint, ledger text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER %2$I AFTER INSERT OR UPDATE OR DELETE ON %1$I FOR EACH ROW EXECUTE FUNCTION guard_fate(''id'', ''state'', %3$L, ''{"open": ["won", "lost"]}'')', shard, 'petition_cas_guard_' || number, ledger);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', shard, 'petition_cas_guard_' || number);
    EXECUTE format('CREATE TRIGGER %2$I AFTER TRUNCATE ON %1$I EXECUTE FUNCTION guard_truncate()', shard, 'petition_cas_truncate_' || number);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', shard, 'petition_cas_truncate_' || number);
END $$;
CREATE FUNCTION create_shard(shard text, number bigint, ledger text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, state text DEFAULT ''open'', note text)', shard);
    PERFORM guard(shard, number, ledger);
END $$;

-- fates of a shard are recorded in the ledger of its table, once
SELECT create_shard('t_102008', 102008, 't_fates');
INSERT INTO t_102008 VALUES (1, 'open'), (2, 'open'), (3, 'open'), (4, 'won');
UPDATE t_102008 SET state = 'won' WHERE id = 1;
SELECT * FROM try_compare_and_swap(null::t_102008, '2', 'open', 'lost');
SELECT told($$UPDATE t_102008 SET state = 'lost' WHERE id = 1$$);
SELECT told($$UPDATE t_102008 SET state = 'other' WHERE id = 3$$);
SELECT told($$DELETE FROM t_102008 WHERE id = 1$$);
SELECT told($$INSERT INTO t VALUES (1, 'lost')$$);
SELECT told($$UPDATE t_102008 SET id = 9 WHERE id = 3$$);
SELECT told($$TRUNCATE t_102008$$);
SELECT id, from_state, fate FROM t_fates ORDER BY id;
SELECT * FROM verify_fates('t_102008');

-- the guard of DDL knows them
SELECT c, (SELECT told FROM told(c) LIMIT 1) FROM unnest(ARRAY[
    'DROP TRIGGER petition_cas_guard_102008 ON t_102008',
    'DROP TRIGGER petition_cas_truncate_102008 ON t_102008',
    'ALTER TABLE t_102008 DISABLE TRIGGER petition_cas_guard_102008',
    'ALTER TABLE t_102008 DISABLE TRIGGER petition_cas_truncate_102008',
    'ALTER TABLE t_102008 ENABLE TRIGGER petition_cas_guard_102008',
    'ALTER TABLE t_102008 DISABLE TRIGGER ALL',
    'ALTER TRIGGER petition_cas_guard_102008 ON t_102008 RENAME TO petition_cas_guard_102009',
    'ALTER TRIGGER petition_cas_truncate_102008 ON t_102008 RENAME TO other',
    'ALTER TABLE t_102008 RENAME TO t_102009',
    'ALTER TABLE t_102008 RENAME TO other',
    'ALTER TABLE t_102008 DROP COLUMN state',
    'ALTER TABLE t_102008 DROP CONSTRAINT t_102008_pkey',
    'ALTER TABLE t_102008 ALTER state TYPE varchar',
    'DROP TABLE t_fates',
    'ALTER TABLE t_102008 ADD COLUMN more text'
]) c;

-- and the types of their columns
CREATE TYPE states AS ENUM ('open', 'won', 'lost');
CREATE TABLE s_102020 (id int PRIMARY KEY, state states);
CREATE TABLE s_fates (LIKE t_fates INCLUDING ALL);
SELECT guard('s_102020', 102020, 's_fates');
SELECT told($$ALTER TYPE states RENAME VALUE 'open' TO 'new'$$);

-- the ledger's shard: its own triggers, and it is nobody's ledger by its name
CREATE TABLE t_fates_102016 (LIKE t_fates INCLUDING ALL);
CREATE TRIGGER petition_cas_ledger_102016 BEFORE UPDATE OR DELETE ON t_fates_102016
    FOR EACH ROW EXECUTE FUNCTION guard_ledger();
CREATE TRIGGER petition_cas_ledger_truncate_102016 AFTER TRUNCATE ON t_fates_102016 EXECUTE FUNCTION guard_ledger();
INSERT INTO t_fates_102016 SELECT * FROM t_fates;
SELECT told($$UPDATE t_fates_102016 SET fate = 'lost'$$);
SELECT told($$TRUNCATE t_fates_102016$$);
SELECT told($$ALTER TRIGGER petition_cas_ledger_102016 ON t_fates_102016 RENAME TO other$$);
DROP TABLE t_fates_102016;

-- a trigger of the exact name is the one that counts
CREATE TABLE e_102008 (id int PRIMARY KEY, state text);
SELECT govern('e_102008', '{"open": ["won"]}');
SELECT told($$SELECT guard('e_102008', 102008, 'e_102008_fates')$$);
INSERT INTO e_102008 VALUES (1, 'open');
SELECT told($$UPDATE e_102008 SET state = 'won'$$);
SELECT told($$UPDATE e_102008 SET state = 'open'$$);
SELECT told($$ALTER TABLE e_102008 DISABLE TRIGGER petition_cas_guard$$);
BEGIN;
SET LOCAL petition_cas.allow_unguard = on;
SELECT guard('e_102008', 102008, 'e_102008_fates');
SELECT told($$INSERT INTO e_102008 VALUES (2, 'open')$$);
ROLLBACK;

-- what only looks like a shard is not governed
CREATE TABLE look_102008 (id int PRIMARY KEY, state text);
INSERT INTO look_102008 VALUES (1, 'won');
UPDATE look_102008 SET state = 'lost';
SELECT told($$SELECT * FROM try_compare_and_swap(null::look_102008, '1', 'open', 'won')$$);
TRUNCATE look_102008;
CREATE TABLE look_0 (id int PRIMARY KEY, state text);
SELECT told($$SELECT guard('look_0', 0, 'look_fates')$$);
CREATE TABLE "_7" (id int PRIMARY KEY, state text);
SELECT told($$SELECT guard('_7', 7, 'look_fates')$$);
CREATE TABLE look_5x (id int PRIMARY KEY, state text);
SELECT told($$SELECT guard('look_5x', 5, 'look_fates')$$);
SELECT told($$SELECT guard('look_102008', 102009, 'look_fates')$$);
SELECT create_shard('n_' || repeat('9', 18), repeat('9', 18)::bigint, 'n_fates');
DO $$ BEGIN EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, state text)', 'n_' || repeat('9', 61)); END $$;
SELECT told(format('INSERT INTO %I VALUES (1, ''won'')', 'n_' || repeat('9', 61)));

-- no other table gets the ledger
SELECT told($$SELECT create_shard('other', 1, 't_fates')$$);
SELECT told($$SELECT create_shard('other_102008', 102008, 't_fates')$$);
CREATE TABLE t_102010 (LIKE t INCLUDING ALL);
SELECT told($$CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t_102010
    FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"]}')$$);
SELECT guard('t_102010', 102010, 't_fates');

-- a name that is too long is clipped, with a hash between
SELECT repeat('long', 15) AS whole \gset
SELECT set_config('shards.long', left(:'whole', 47) || '_' || lpad(to_hex(hashtext(:'whole')), 8, '0') || '_102012', false) AS long \gset
CREATE TABLE :whole (id int PRIMARY KEY, state text DEFAULT 'open');
SELECT govern(:'whole', '{"open": ["won", "lost"]}') AS ledger \gset
SELECT length(:'long'), create_shard(:'long', 102012, :'ledger');
INSERT INTO :"long" VALUES (1);
UPDATE :"long" SET state = 'won' WHERE id = 1;
SELECT id, fate FROM :ledger;
SELECT told FROM told(format($$UPDATE %I SET state = 'lost' WHERE id = 1$$, :'long')) WHERE told LIKE 'PF%';
SELECT told($$SELECT create_shard(left(current_setting('shards.long'), 47) || '_00000000_102012', 102012, $$ || quote_literal(:'ledger') || ')');

-- Where the catalogs of Citus say that a table is a shard, it is its table that is
-- governed, verified and extended.
BEGIN;
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid oid, partmethod "char", partkey text, colocationid int);
CREATE UNIQUE INDEX pg_dist_partition_logical_relid_index ON pg_catalog.pg_dist_partition (logicalrelid);
CREATE TABLE pg_catalog.pg_dist_shard (logicalrelid oid, shardid bigint, shardstorage "char", shardminvalue text);
CREATE UNIQUE INDEX pg_dist_shard_shardid_index ON pg_catalog.pg_dist_shard (shardid);
INSERT INTO pg_catalog.pg_dist_partition VALUES ('t'::regclass, 'h', '', 1), ('t_fates'::regclass, 'h', '', 1);
INSERT INTO pg_catalog.pg_dist_shard VALUES ('t'::regclass, 102008, 't', '-1'), ('t_fates'::regclass, 102016, 't', '-1'),
    ('t'::regclass, 102010, 't', '1'), ('t'::regclass, 102099, 't', '2');
SELECT told(format('SELECT %s', c)) FROM unnest(ARRAY[$$verify_fates('t_102008')$$, $$backfill_fates('t_102008')$$,
    $$ungovern('t_102008')$$, $$extend_lifecycle('t_102008', '{}')$$, $$govern('t_102008', '{"a": ["b"]}')$$]) c;
SELECT told($$UPDATE t_102008 SET state = 'lost' WHERE id = 1$$);
-- which TRUNCATE asks for the part of the ledger beside it
CREATE TABLE t_fates_102016 (LIKE t_fates INCLUDING ALL);
SELECT told($$TRUNCATE t_102008$$);
INSERT INTO t_fates_102016 SELECT * FROM t_fates LIMIT 1;
SELECT told($$TRUNCATE t_102008$$);
-- and which need not have a trigger on TRUNCATE
SET LOCAL petition_cas.allow_unguard = on;
DROP TRIGGER petition_cas_truncate_102010 ON t_102010;
INSERT INTO t_102010 VALUES (100, 'won');
-- once its guard is gone, it is a table like others
DROP TRIGGER petition_cas_guard_102008 ON t_102008;
SELECT told($$TRUNCATE t_102008$$);
-- the ledger's conflict is told by whatever index it met, or by its name alone
RESET petition_cas.allow_unguard;
CREATE TABLE d (id int PRIMARY KEY, state text DEFAULT 'open');
INSERT INTO pg_catalog.pg_dist_partition VALUES ('d'::regclass, 'h', '', 2);
SELECT told($$SELECT govern('d', '{"open": ["won"]}')$$);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE unique_violation USING MESSAGE = 'duplicate key value violates unique constraint "t_fates_pkey_102016"';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT told($$INSERT INTO t VALUES (200); UPDATE t SET state = 'won' WHERE id = 200$$);
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA shards CASCADE;
