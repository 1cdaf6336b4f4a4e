-- What is dropped along with something else: a ledger that is in use stays, whatever it is
-- that takes it away; what merely has the name of one of our triggers goes; and statistics
-- of a ledger are code, like an index.
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
CREATE SCHEMA ddl_dropped;
CREATE ROLE dropped_owner;
CREATE ROLE dropped_stranger;
GRANT CREATE, USAGE ON SCHEMA ddl_dropped TO dropped_owner, dropped_stranger;
SET search_path = ddl_dropped, public;

-- A ledger and a history that are kept by a table access method of their own
CREATE ACCESS METHOD dropped_heap TYPE TABLE HANDLER heap_tableam_handler;
SET ROLE dropped_owner;
CREATE TABLE cases (id int PRIMARY KEY, state text);
CREATE TABLE orders (id int PRIMARY KEY, state text);
SET default_table_access_method = dropped_heap;
SELECT govern('cases', '{"open": ["won", "lost"]}', history => true);
RESET default_table_access_method;
SELECT govern('orders', '{"open": ["won", "lost"]}');
INSERT INTO cases VALUES (1, 'won');
RESET ROLE;
SELECT told('DROP ACCESS METHOD dropped_heap CASCADE');
SELECT * FROM verify_fates('cases');
-- one that is in nobody's use goes, and one whose table goes with it
SELECT ungovern('cases');
DROP ACCESS METHOD dropped_heap CASCADE;
SELECT to_regclass('cases_fates'), to_regclass('cases_history');
DROP OWNED BY dropped_owner;
SELECT to_regclass('orders'), to_regclass('orders_fates');
GRANT CREATE, USAGE ON SCHEMA ddl_dropped TO dropped_owner;

-- A stranger's guard names a ledger that came later: it stops nobody.
SET ROLE dropped_stranger;
CREATE TABLE bait (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'cases_fates', '{"open": ["won"]}');
RESET ROLE;
CREATE ACCESS METHOD dropped_heap TYPE TABLE HANDLER heap_tableam_handler;
SET ROLE dropped_owner;
SET default_table_access_method = dropped_heap;
CREATE TABLE cases (id int PRIMARY KEY, state text);
SELECT govern('cases', '{"open": ["won", "lost"]}');
RESET default_table_access_method;
RESET ROLE;
DROP ACCESS METHOD dropped_heap CASCADE;
SELECT to_regclass('cases'), to_regclass('cases_fates');

-- Triggers of those names that call something else
CREATE SCHEMA functions AUTHORIZATION dropped_owner;
SET ROLE dropped_owner;
CREATE FUNCTION functions.mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
GRANT USAGE ON SCHEMA functions TO dropped_stranger;
CREATE TABLE plain (id int PRIMARY KEY, state text);
CREATE TRIGGER petition_cas_guard_log AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION functions.mine();
SET ROLE dropped_stranger;
CREATE TRIGGER petition_cas_guard_more AFTER INSERT ON bait FOR EACH ROW EXECUTE FUNCTION functions.mine();
CREATE TABLE unguarded (id int);
CREATE TRIGGER petition_cas_truncate AFTER TRUNCATE ON unguarded EXECUTE FUNCTION functions.mine();
SET ROLE dropped_owner;
DROP TRIGGER petition_cas_guard_log ON plain;
CREATE TRIGGER petition_cas_guard_log AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION functions.mine();
DROP FUNCTION functions.mine() CASCADE;
SELECT tgname FROM pg_trigger WHERE tgrelid IN ('bait'::regclass, 'unguarded'::regclass, 'plain'::regclass);
-- and those that are ours
SELECT govern('plain', '{"open": ["won", "lost"]}');
SELECT told('DROP TRIGGER petition_cas_guard ON plain');
SELECT told('DROP TRIGGER petition_cas_truncate ON plain');
SELECT told('DROP TRIGGER petition_cas_ledger ON plain_fates');

-- The new owner of a table is to run no code of the former one's.
CREATE FUNCTION functions.seen(text) RETURNS text IMMUTABLE LANGUAGE sql RETURN $1;
CREATE STATISTICS named ON id, fate FROM plain_fates;
RESET ROLE;
ALTER TABLE plain OWNER TO dropped_stranger;
ALTER TABLE plain OWNER TO dropped_owner;
SET ROLE dropped_owner;
CREATE STATISTICS told ON id, functions.seen(fate) FROM plain_fates;
RESET ROLE;
SELECT told('ALTER TABLE plain OWNER TO dropped_stranger');

-- The function of a guard takes it along no more than anything else.
BEGIN;
ALTER EXTENSION petition_cas DROP FUNCTION guard_fate();
SELECT substr(told, 1, 46) FROM told('DROP FUNCTION guard_fate() CASCADE') LIMIT 1;
ROLLBACK;

-- An event trigger that governs what a command has made
CREATE FUNCTION functions.auto_govern() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE objid = 'ddl_dropped.soon'::regclass)
        AND NOT EXISTS (SELECT FROM public.governed_tables() WHERE relation = 'ddl_dropped.soon'::regclass) THEN
        PERFORM public.govern('ddl_dropped.soon', '{"open": ["won", "lost"]}');
    END IF;
END $$;
CREATE EVENT TRIGGER auto_govern ON ddl_command_end WHEN tag IN ('ALTER TABLE') EXECUTE FUNCTION functions.auto_govern();
CREATE TABLE soon (id int, state text);
ALTER TABLE soon ADD PRIMARY KEY (id);
DROP EVENT TRIGGER auto_govern;
SELECT ledger, problems FROM governed_tables() WHERE relation = 'soon'::regclass;

DROP SCHEMA ddl_dropped, functions CASCADE;
DROP ROLE dropped_owner, dropped_stranger;
