-- On the state column of a governed table a filter knows the lifecycle.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS petition_cas;
SET petition_cas.allow_unguard = on;

CREATE TYPE roster_stage AS ENUM ('new', 'won', 'lost', 'unused');
CREATE TABLE state_text (id int PRIMARY KEY, state text, old_state text);
CREATE TABLE state_code (id int PRIMARY KEY, "the state" varchar(9));
CREATE TABLE state_enum (id int PRIMARY KEY, state roster_stage);
CREATE TABLE state_parted (id int PRIMARY KEY, state text) PARTITION BY RANGE (id);
CREATE TABLE state_part PARTITION OF state_parted FOR VALUES FROM (0) TO (9);
CREATE TABLE state_free (id int PRIMARY KEY, state text);
SELECT govern(source, '{"new": ["won", "lost"]}', state_column => CASE source WHEN 'state_code'::regclass THEN 'the state' ELSE 'state' END)
FROM unnest('{state_text,state_code,state_enum,state_parted}'::regclass[]) AS source;
INSERT INTO state_text VALUES (1, 'new', 'draft'), (2, 'won', 'new');
INSERT INTO state_code VALUES (1, 'new'), (2, 'won');
INSERT INTO state_enum VALUES (1, 'new'), (2, 'won');
INSERT INTO state_parted VALUES (1, 'new'), (2, 'won');
INSERT INTO state_free VALUES (1, 'new'), (2, 'won');
CREATE VIEW state_view AS SELECT * FROM state_text;

CREATE FUNCTION found(source regclass, filter text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN (resolve_roster(source, filter)).resolved_ids;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN format('%s: %s %s', sqlstate, sqlerrm, detail);
END $$;
SELECT source, filter, found(source::regclass, filter)
FROM (VALUES
	('state_text', 'state:new'), ('state_text', 'state:new|won'), ('state_text', '-state:lost'), ('state_text', 'state:*'), ('state_text', 'state:>=new'),
	('state_text', 'state:nwe'), ('state_text', '-state:nwe'), ('state_text', 'state:new|wom'), ('state_text', 'id:1 -state:"new "'), ('state_text', 'state:NEW'),
	('state_text', 'state:""'), ('state_text', 'state:>nwe'), ('state_text', 'state:a..new'), ('state_text', 'state:draft'), ('state_text', 'old_state:nwe'),
	('state_code', '"the state":new'), ('state_code', '-"the state":nwe'), ('state_enum', 'state:new|won'), ('state_enum', '-state:unused'), ('state_enum', 'state:nwe'),
	('state_parted', 'state:won'), ('state_parted', '-state:nwe'), ('state_part', '-state:nwe'),
	-- where no lifecycle is known
	('state_view', 'state:nwe'), ('state_free', 'state:nwe'), ('state_text_fates', 'fate:nwe')) AS f(source, filter);
SELECT validate_roster('state_text', '-state:nwe', '{}', roster_hash('{}'::int[]));
SELECT claim_roster('state_text', '-state:nwe', '{}', roster_hash('{}'::int[]));

-- states that are added are known at once; a table that is no longer governed has
-- no states
SELECT extend_lifecycle('state_text', '{"new": ["kept"]}');
SELECT found('state_text', '-state:kept'), found('state_text', '-state:keptt');
SELECT ungovern('state_text');
SELECT found('state_text', 'state:nwe');

-- a guard that makes no sense is no affair of a reader's, nor is one of another
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON state_free FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'state_free_fates', '{"new"');
SELECT found('state_free', 'state:nwe');
DROP TRIGGER petition_cas_guard ON state_free;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON state_free FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'state_free_fates', '["new"]');
SELECT found('state_free', 'state:nwe');
DROP TRIGGER petition_cas_guard ON state_free;
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON state_free FOR EACH ROW EXECUTE FUNCTION guard_fate();
SELECT found('state_free', 'state:nwe');
DROP TRIGGER petition_cas_guard ON state_free;
CREATE FUNCTION no_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON state_free FOR EACH ROW EXECUTE FUNCTION no_guard('id', 'state', 'state_free_fates', '{"new": ["won"]}');
SELECT found('state_free', 'state:nwe');

DROP VIEW state_view;
DROP TABLE state_text, state_text_fates, state_code, state_code_fates, state_enum, state_enum_fates, state_parted, state_parted_fates, state_free;
DROP FUNCTION found(regclass, text), no_guard();
DROP TYPE roster_stage;
