# Every way around the promise that SQL offers: one fate a key, for ever, and the
# row as its ledger says. Each way is tried on a fresh table, by each role that
# might try it, over a connection of its own. It is refused, with the SQLSTATE
# that is noted here, and has changed nothing; or it goes through and has done
# no harm; or it is a limit, and what it leaves behind is noted here too. All that
# once more on a table of the second kind: see SecondKind.pm.
#
# The outcomes are written as a table, which docs/ways-around.md has to equal:
#
#   WAYS_AROUND=docs/ways-around.md   the file to write it to

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SecondKind;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('ways');
$node->init;
$node->append_conf('postgresql.conf', "fsync = off\nmax_prepared_transactions = 5\n");
$node->start;

# ann owns the table, wes may do everything with its rows and put triggers on
# it, sam may create tables of his own in its schema.
my $root = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', q{
	CREATE EXTENSION petition_cas;
	CREATE ROLE ann LOGIN; CREATE ROLE wes LOGIN; CREATE ROLE sam LOGIN; CREATE ROLE ann_too;
	GRANT ann_too TO ann;
	GRANT CREATE ON DATABASE postgres TO ann;
	ALTER DATABASE postgres SET search_path = w, public;
	ALTER DATABASE postgres SET client_min_messages = error});

my @all = ('wes', 'ann', $root);
my @owner = ('ann', $root);
my %who = (
	"@all" => 'anybody', "@owner" => 'owner, superuser', 'ann' => 'owner', 'wes' => 'writer',
	'sam' => 'stranger', $root => 'superuser', 'wes sam' => 'others', 'wes ann' => 'writer, owner', "wes sam ann" => 'all but superusers');

my %condition = (
	PF002 => 'already fated', PF003 => 'invalid transition', PF006 => 'protected',
	21000 => 'cardinality violation', 22023 => 'unknown state', 23502 => 'not null', 23505 => 'unique violation',
	42501 => 'insufficient privilege', '42P01' => 'undefined table', 42703 => 'undefined column',
	42710 => 'duplicate object', 42804 => 'wrong type', 42809 => 'wrong object type',
	55000 => 'not in prerequisite state', 55006 => 'object in use', '39P01' => 'trigger protocol violated',
	'0A000' => 'not supported', '2BP01' => 'others depend on it', '42P07' => 'exists already',
	'42P16' => 'invalid table definition', '42P17' => 'invalid object definition', 23514 => 'check violation', PF004 => 'not found');

my $fixture = q{
	CREATE TABLE t (id int PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t TO wes;
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft');
	UPDATE t SET state = 'won' WHERE id = 1;
};
my $fixture_left = '1 won/won, 2 open/-, 3 draft/-';

my $partitioned = q{
	CREATE TABLE t (id int PRIMARY KEY, state text, note text) PARTITION BY RANGE (id);
	CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10);
	CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (10) TO (20);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t, t_low, t_high TO wes;
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft');
	UPDATE t SET state = 'won' WHERE id = 1;
};

my $enum = q{
	CREATE TYPE stage AS ENUM ('draft', 'open', 'won', 'lost');
	CREATE TABLE t (id int PRIMARY KEY, state stage, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t TO wes;
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft');
	UPDATE t SET state = 'won' WHERE id = 1;
};

my $typed = q{
	CREATE TYPE row_type AS (id int, state text, note text);
	CREATE TABLE t OF row_type (PRIMARY KEY (id));
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t TO wes;
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft');
	UPDATE t SET state = 'won' WHERE id = 1;
};

my $with_history = $fixture =~ s/'\)/', history => true)/r;

my $rows = q{SELECT string_agg(format('%s %s/%s', coalesce(t.id, f.id), coalesce(t.state::text, '-'), coalesce(f.fate, '-')),
	', ' ORDER BY coalesce(t.id, f.id)) FROM t FULL JOIN t_fates f ON f.id = t.id};
my $problems = q{SELECT string_agg(DISTINCT concat_ws(': ', key, problem), '; ' ORDER BY concat_ws(': ', key, problem)) FROM verify_fates('t') WHERE problem NOT LIKE 'imprudent:%'};

my @table;

# Begins anew, with what the way sets up.
sub set_up
{
	my ($way) = @_;
	my $before = $way->{before} // '';
	my $super = $way->{before_super} // '';

	$node->safe_psql('postgres', qq{
		SET petition_cas.allow_unguard = on;
		DROP SCHEMA IF EXISTS w, x, evil CASCADE;
		RESET petition_cas.allow_unguard;
		CREATE SCHEMA w AUTHORIZATION ann;
		CREATE SCHEMA x AUTHORIZATION ann;
		GRANT USAGE ON SCHEMA w TO wes, sam;
		GRANT CREATE ON SCHEMA w TO sam, ann_too;
		SET SESSION AUTHORIZATION ann;
		$way->{fixture}
		$before;
		RESET SESSION AUTHORIZATION;
		$super});
	return;
}

# Tries one way as one role; returns the SQLSTATE of the first error, or 'ok'.
# An error counts only in the last line of the attack: what leads there works.
sub attack
{
	my ($way, $role) = @_;
	my @lines = grep { /\S/ } split /\n/, $way->{sql};
	my $last = $way->{sql} =~ /FROM stdin/ ? join("\n", splice @lines) : pop(@lines) . ';';
	my $script = join "\n", '\set VERBOSITY verbose', @lines, '\echo so far', $last, '\echo through', '';
	my ($code, $out, $error) = $node->psql('postgres', $script,
		on_error_stop => 1, extra_params => [ '-U', $role ], timeout => 60);

	return "only the set-up: $error" unless $out =~ /^so far$/m;
	return 'ok' if $out =~ /^through$/m;
	return $error =~ /(?:ERROR|FATAL):\s+(\w{5}):/ ? $1 : $error;
}

# Asks a question as the superuser; returns the answer, or the error.
sub ask
{
	my ($code, $out, $error) = $node->psql('postgres', $_[0]);
	return $code == 0 && $error eq '' ? $out : $error;
}

# Tries a way as each of its roles on a table of one kind.
sub try_kind
{
	my ($title, $roles, $expected, %way) = @_;

	for my $role (@$roles)
	{
		my $as = $role eq $root ? 'superuser' : $role;

		set_up(\%way);
		is(attack(\%way, $role), $expected, "$title, as $as: outcome");
		ask($way{after}) if $way{after};
		my ($left, $found) = split /^verified\n/m, ask("$way{rows};\n" . ($way{no_verify} ? '' : "\\echo verified\n$problems"));
		is($left =~ s/\n\z//r, $way{left}, "$title, as $as: rows and ledger");
		is($found // '', $way{problems}, "$title, as $as: verify_fates")
		  unless $way{no_verify};
	}
	return;
}

# Tries a way on a table of each kind and notes the outcome, which is the same.
sub try_way
{
	my ($group, $name, $roles, $expected, $sql, %more) = @_;
	my %way = (fixture => $fixture, rows => $rows, left => $fixture_left, problems => '', %more, sql => $sql);
	my $told = $expected eq 'ok' ? '' : "`$expected` $condition{$expected}";

	try_kind("$group: $name", $roles, $expected, %way);
	try_kind("$group: $name, second kind", $roles, $expected, of_second_kind(%way));
	$told .= ($told ? '; ' : '') . $way{note} if $way{note};
	push @table, [ $group, $name, $who{"@$roles"} // "@$roles", $told ];
	return;
}

my $group;
sub refused { my ($name, $roles, $code, $sql, @more) = @_; return try_way($group, $name, $roles, $code, $sql, @more); }
# goes through, and keeps the promise
sub harmless { my ($name, $roles, $note, $sql, @more) = @_; return try_way($group, $name, $roles, 'ok', $sql, note => "no harm: $note", @more); }
# goes through, and does not
sub limit { my ($name, $roles, $note, $sql, @more) = @_; return try_way($group, $name, $roles, 'ok', $sql, note => "**limit**: $note", @more); }

# --- Writing rows -----------------------------------------------------------

$group = 'Writing rows';

refused '`UPDATE` of a fate to another fate', \@all, 'PF002', q{UPDATE t SET state = 'lost' WHERE id = 1};
refused '`UPDATE` of a fate back to an open state', \@all, 'PF002', q{UPDATE t SET state = 'open' WHERE id = 1};
refused '`UPDATE` of a fate to null', \@all, 'PF002', q{UPDATE t SET state = NULL WHERE id = 1};
refused '`UPDATE` of an open state to null', \@all, '23502', q{UPDATE t SET state = NULL WHERE id = 2};
refused '`INSERT` without a state', \@all, '23502', q{INSERT INTO t (id) VALUES (4)};
refused 'a state that the lifecycle does not know', \@all, '22023', q{UPDATE t SET state = 'reopened' WHERE id = 2};
refused 'the same by `INSERT`', \@all, '22023', q{INSERT INTO t VALUES (4, 'reopened')};
refused 'a transition off the lifecycle', \@all, 'PF003', q{UPDATE t SET state = 'won' WHERE id = 3};
refused 'an upsert', \@all, 'PF002',
  q{INSERT INTO t VALUES (1, 'lost') ON CONFLICT (id) DO UPDATE SET state = excluded.state};
refused '`MERGE` that updates', \@all, 'PF002',
  q{MERGE INTO t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET state = 'lost'};
refused '`MERGE` that deletes', \@all, 'PF006',
  q{MERGE INTO t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN DELETE};
refused '`MERGE` that updates a row twice', \@all, '21000',
  q{MERGE INTO t USING (VALUES ('won'), ('lost')) v (fate) ON t.id = 2 WHEN MATCHED THEN UPDATE SET state = v.fate};
harmless '`UPDATE ... FROM` that offers two fates for a row', \@all, 'one is stored',
  q{UPDATE t SET state = v.fate FROM (VALUES ('won'), ('won')) v (fate) WHERE id = 2}, left => '1 won/won, 2 won/won, 3 draft/-';
refused 'a writable CTE', \@all, 'PF002',
  q{WITH x AS (UPDATE t SET state = 'lost' WHERE id = 1 RETURNING id) SELECT * FROM x};
refused 'a writable CTE that deletes and inserts again', \@all, 'PF006',
  q{WITH x AS (DELETE FROM t WHERE id = 1 RETURNING id) INSERT INTO t SELECT id, 'lost' FROM x};
harmless 'two writable CTEs that give one row two fates', \@all, 'the server stores the first',
  q{WITH x AS (UPDATE t SET state = 'won' WHERE id = 2 RETURNING id), y AS (UPDATE t SET state = 'lost' WHERE id = 2 RETURNING id) SELECT * FROM x, y},
  left => '1 won/won, 2 won/won, 3 draft/-';
harmless 'two calls in one statement', \@all, 'the second one is told `already_fated`',
  q{SELECT a.outcome || b.outcome, 1 / (a.outcome || b.outcome = 'assignedalready_fated')::int FROM try_compare_and_swap(null::t, '2', 'open', 'won') a, LATERAL (SELECT * FROM try_compare_and_swap(null::t, '2', 'open', left('lost' || a.outcome, 4))) b},
  left => '1 won/won, 2 won/won, 3 draft/-';
refused 'an updatable view', \@all, 'PF002', q{UPDATE v SET state = 'lost' WHERE id = 1},
  before => 'CREATE VIEW v AS SELECT * FROM t; GRANT ALL ON v TO wes';
refused 'a rule on another table', \@all, 'PF002', q{INSERT INTO other VALUES (1)},
  before => q{CREATE TABLE other (id int); GRANT ALL ON other TO wes; CREATE RULE r AS ON INSERT TO other DO ALSO UPDATE t SET state = 'lost' WHERE id = new.id};
refused 'a rule on the table that does something else instead of a swap', \@all, '0A000',
  q{SELECT compare_and_swap(null::t, '2', 'open', 'won')},
  before => q{CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING};
refused '`COPY` of a fated row again', \@all, '23505', "COPY t FROM stdin;\n1\tlost\t\\N\n\\.";
refused '`COPY` of an unknown state', \@all, '22023', "COPY t FROM stdin;\n4\treopened\t\\N\n\\.";
refused '`COPY ... WITH (FREEZE)` after `TRUNCATE`', \@all, 'PF006', "BEGIN; TRUNCATE t; COPY t FROM stdin WITH (FREEZE);\n1\tlost\t\\N\n\\.";
refused '`DELETE` of a fated row', \@all, 'PF006', q{DELETE FROM t WHERE id = 1};
refused '`DELETE` and `INSERT` in a block that catches errors', \@all, '23505',
  q{DO $$ BEGIN BEGIN DELETE FROM t WHERE id = 1; EXCEPTION WHEN OTHERS THEN END; INSERT INTO t VALUES (1, 'lost'); END $$};
harmless '`DELETE` of a row without a fate, and `INSERT` of the key again', \@all, 'it still gets one fate',
  q{DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 'open'); UPDATE t SET state = 'lost' WHERE id = 2},
  left => '1 won/won, 2 lost/lost, 3 draft/-';
refused 'a change of the key of a fated row', \@all, 'PF006', q{UPDATE t SET id = 11 WHERE id = 1};
refused 'a change of the key of an open row', \@all, 'PF006', q{UPDATE t SET id = 11 WHERE id = 2};
refused 'a key and a state in one', \@all, 'PF006', q{UPDATE t SET id = 11, state = 'lost' WHERE id = 2};
refused '`TRUNCATE`', \@all, 'PF006', q{TRUNCATE t};
refused '`TRUNCATE ... CASCADE` of a table that it refers to', \@owner, 'PF006', q{TRUNCATE other CASCADE},
  before => q{CREATE TABLE other (id int PRIMARY KEY); ALTER TABLE t ADD other int REFERENCES other};
refused '`ON DELETE CASCADE`', \@owner, 'PF006', q{DELETE FROM other},
  before => q{CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (7);
	ALTER TABLE t ADD other int REFERENCES other ON DELETE CASCADE; UPDATE t SET other = 7 WHERE id = 1};
refused '`ON UPDATE CASCADE` into the key', \@owner, 'PF006', q{UPDATE other SET id = id + 100},
  before => q{CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT id FROM t;
	ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES other ON UPDATE CASCADE};
refused '`ON UPDATE CASCADE` into the state', \@owner, 'PF002', q{UPDATE states SET name = 'lost' WHERE name = 'won'},
  before => q{CREATE TABLE states (name text PRIMARY KEY); INSERT INTO states VALUES ('draft'), ('open'), ('won');
	ALTER TABLE t ADD FOREIGN KEY (state) REFERENCES states ON UPDATE CASCADE};
refused '`ON DELETE SET NULL` into the state', \@owner, 'PF002', q{DELETE FROM states WHERE name = 'won'},
  before => q{CREATE TABLE states (name text PRIMARY KEY); INSERT INTO states VALUES ('draft'), ('open'), ('won');
	ALTER TABLE t ADD FOREIGN KEY (state) REFERENCES states ON DELETE SET NULL};
refused '`ON DELETE SET DEFAULT` into the state', \@owner, 'PF002', q{DELETE FROM states WHERE name = 'won'},
  before => q{CREATE TABLE states (name text PRIMARY KEY); INSERT INTO states VALUES ('draft'), ('open'), ('won');
	ALTER TABLE t ALTER state SET DEFAULT 'open'; ALTER TABLE t ADD FOREIGN KEY (state) REFERENCES states ON DELETE SET DEFAULT};
refused 'a cursor and `WHERE CURRENT OF`', \@all, 'PF002',
  "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 1 FOR UPDATE; FETCH c;\nUPDATE t SET state = 'lost' WHERE CURRENT OF c";
refused 'savepoints: to roll the winner back, keep its ledger row', \@all, 'PF002',
  "BEGIN; SAVEPOINT s; UPDATE t SET state = 'lost' WHERE id = 2; ROLLBACK TO s; UPDATE t SET state = 'won' WHERE id = 2; RELEASE s;\nUPDATE t SET state = 'lost' WHERE id = 2";
harmless 'a loop that tries each fate and catches the errors', \@all, 'the first one stays', q{
	DO $$ DECLARE f text; BEGIN FOREACH f IN ARRAY '{won,lost,open,won}'::text[] LOOP BEGIN UPDATE t SET state = f WHERE id = 2; EXCEPTION WHEN OTHERS THEN END; END LOOP; END $$},
  left => '1 won/won, 2 won/won, 3 draft/-';
harmless '`SET CONSTRAINTS ALL DEFERRED`', \@all, 'the guard does not wait for the commit', q{
	BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE t SET state = 'won' WHERE id = 2; DO $$ BEGIN UPDATE t SET state = 'lost' WHERE id = 2; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$; COMMIT},
  left => '1 won/won, 2 won/won, 3 draft/-';
refused 'a prepared statement from before a change of the lifecycle', \@owner, 'PF002',
  "PREPARE u AS UPDATE t SET state = 'lost' WHERE id = 1;\nSELECT extend_lifecycle('t', '{\"open\": [\"void\"]}');\nEXECUTE u";
refused 'a `SECURITY DEFINER` function of the owner', ['wes'], 'PF002', q{SELECT f()},
  before => q{CREATE FUNCTION f() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ UPDATE t SET state = 'lost' WHERE id = 1 $$};
refused 'a prepared transaction holds the fate', \@all, 'PF002',
  "BEGIN; UPDATE t SET state = 'won' WHERE id = 2; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';\nUPDATE t SET state = 'lost' WHERE id = 2",
  left => '1 won/won, 2 won/won, 3 draft/-';
refused 'an import (`INSERT` with its fate) of a key that the ledger gives another', \@all, 'PF002',
  q{INSERT INTO t VALUES (9, 'lost')}, before => q{INSERT INTO t_fates VALUES (9, null, 'won', now(), 'ann', '3')},
  left => '1 won/won, 2 open/-, 3 draft/-, 9 -/won', problems => '9: the ledger holds the fate "won", but the row is gone';
limit 'change other columns of a fated row', \@all, 'the guard judges the key, the state and the evidence',
  q{UPDATE t SET note = 'changed' WHERE id = 1};

# --- Triggers of others -----------------------------------------------------

$group = 'Triggers';
my $set_state = q{CREATE FUNCTION set_state() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.state := tg_argv[0]; RETURN new; END'; GRANT EXECUTE ON FUNCTION set_state TO wes;};

refused 'a `BEFORE` trigger, named to fire last, that changes a fate', \@all, 'PF002', q{UPDATE t SET note = 'x' WHERE id = 1},
  before => "$set_state CREATE TRIGGER zzz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION set_state('lost')";
refused 'the same that goes off the lifecycle', \@all, 'PF003', q{UPDATE t SET state = 'open' WHERE id = 3},
  before => "$set_state CREATE TRIGGER zzz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION set_state('won')";
refused 'a `BEFORE` trigger that gives a swap another end', \@all, '55000', q{SELECT compare_and_swap(null::t, '2', 'open', 'won')},
  before => "$set_state CREATE TRIGGER zzz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION set_state('lost')";
refused 'a `BEFORE` trigger that suppresses a swap', \@all, '55000', q{SELECT compare_and_swap(null::t, '2', 'open', 'won')},
  before => q{CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'; CREATE TRIGGER zzz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION nothing()};
refused 'an `AFTER` trigger, named to fire first, that updates the row again', \@all, 'PF002', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE t SET state = ''lost'' WHERE id = new.id AND state = ''won''; RETURN null; END';
	CREATE TRIGGER aaa AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION again()};
refused 'a trigger on the ledger that updates the row again', \@all, 'PF002', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN UPDATE t SET state = ''lost'' WHERE id = new.id; RETURN null; END';
	CREATE TRIGGER aaa AFTER INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION again()};
refused 'a trigger on the ledger that suppresses its row', \@all, '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'; CREATE TRIGGER aaa BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION nothing()};
refused 'a trigger on the ledger that changes the fate', \@all, '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.fate := ''lost''; RETURN new; END'; CREATE TRIGGER aaa BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION other()};
refused 'a trigger on the ledger that changes the key', \@all, '55000', q{INSERT INTO t VALUES (4, 'won')},
  before => q{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.id := 99; RETURN new; END'; CREATE TRIGGER aaa BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION other()};
refused 'a rule on the ledger that sends its rows elsewhere', \@owner, 'PF006',
  q{CREATE RULE r AS ON INSERT TO t_fates DO INSTEAD INSERT INTO other VALUES (new.*)}, before => q{CREATE TABLE other (LIKE t_fates)};
refused 'the same, if a superuser let it be', \@all, '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE TABLE other (LIKE t_fates)},
  before_super => q{SET petition_cas.allow_unguard = on; CREATE RULE r AS ON INSERT TO t_fates DO INSTEAD INSERT INTO w.other VALUES (new.*)},
  problems => 'ledger "t_fates" has rules';
refused '`DISABLE TRIGGER` of the guard', \@owner, 'PF006', q{ALTER TABLE t DISABLE TRIGGER petition_cas_guard};
refused '`DISABLE TRIGGER ALL`', [$root], 'PF006', q{ALTER TABLE t DISABLE TRIGGER ALL};
refused '`DISABLE TRIGGER USER`', \@owner, 'PF006', q{ALTER TABLE t DISABLE TRIGGER USER};
refused '`DISABLE TRIGGER` against `TRUNCATE`', \@owner, 'PF006', q{ALTER TABLE t DISABLE TRIGGER petition_cas_truncate};
refused '`ENABLE TRIGGER ALL`', \@owner, 'PF006', q{ALTER TABLE t ENABLE TRIGGER ALL};
refused '`ENABLE TRIGGER` of the guard (no longer `ALWAYS`)', \@owner, 'PF006', q{ALTER TABLE t ENABLE TRIGGER petition_cas_guard};
refused '`ENABLE REPLICA TRIGGER`', \@owner, 'PF006', q{ALTER TABLE t ENABLE REPLICA TRIGGER petition_cas_guard};
refused '`DROP TRIGGER`', \@owner, 'PF006', q{DROP TRIGGER petition_cas_guard ON t};
refused '`DROP TRIGGER` against `TRUNCATE`', \@owner, 'PF006', q{DROP TRIGGER petition_cas_truncate ON t};
refused '`ALTER TRIGGER ... RENAME`', \@owner, 'PF006', q{ALTER TRIGGER petition_cas_guard ON t RENAME TO guard};
refused '`CREATE OR REPLACE TRIGGER` with a lifecycle that reopens a fate', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"], "won": ["open"]}')};
refused '`CREATE OR REPLACE TRIGGER` with another ledger', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'other', '{"open": ["won", "lost"]}')};
refused '`CREATE OR REPLACE TRIGGER ... WHEN (false)`', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW WHEN (false) EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"]}')};
refused '`CREATE OR REPLACE TRIGGER` for other events', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"]}')};
refused '`CREATE OR REPLACE TRIGGER` with another function', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION other()},
  before => q{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'};
refused '`CREATE OR REPLACE TRIGGER` with another function, against `TRUNCATE`', \@all, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_truncate AFTER TRUNCATE ON t EXECUTE FUNCTION other()},
  before => q{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'};
refused 'a second guard under another name', \@all, 'PF006',
  q{CREATE TRIGGER zzz AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"]}')};
refused 'a guard that is a deferred constraint trigger', \@owner, 'PF006',
  q{CREATE CONSTRAINT TRIGGER zzz AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won", "lost"]}')};
refused 'a way out of a fate by `extend_lifecycle`', \@owner, 'PF006', q{SELECT extend_lifecycle('t', '{"won": ["open"]}')};
refused '`ungovern` and `govern` with a lifecycle that reopens a fate', \@owner, '55000',
  "BEGIN; SELECT ungovern('t');\nSELECT govern('t', '{\"draft\": [\"open\"], \"open\": [\"won\", \"lost\"], \"won\": [\"open\"]}')";
refused '`ungovern`, change a fate, `govern`', \@owner, '55000',
  "BEGIN; SELECT ungovern('t'); UPDATE t SET state = 'lost' WHERE id = 1;\nSELECT govern('t', '{\"draft\": [\"open\"], \"open\": [\"won\", \"lost\"]}')";
refused '`ungovern`, delete a fated row, `govern`', \@owner, '55000',
  "BEGIN; SELECT ungovern('t'); DELETE FROM t WHERE id = 1;\nSELECT govern('t', '{\"draft\": [\"open\"], \"open\": [\"won\", \"lost\"]}')";
limit '`ungovern` and change rows', \@owner, 'nothing is kept any more; the ledger stays, and is not taken over by `govern` until each row agrees',
  q{SELECT ungovern('t'); UPDATE t SET state = 'lost' WHERE id = 1}, left => '1 lost/won, 2 open/-, 3 draft/-', no_verify => 1;
limit '`ungovern`, drop the ledger, `govern`', \@owner, 'the fates of the rows are recorded anew, others are lost',
  q{SELECT ungovern('t'); DROP TABLE t_fates; UPDATE t SET state = 'lost' WHERE id = 1; SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}')},
  left => '1 lost/lost, 2 open/-, 3 draft/-';

# --- The replica role and other settings ------------------------------------

$group = 'Settings';
my $replica = 'SET session_replication_role = replica;';
my $grant = 'GRANT SET ON PARAMETER session_replication_role TO ann, wes';
my $revoke = 'REVOKE SET ON PARAMETER session_replication_role FROM ann, wes';

refused '`session_replication_role = replica`', [ 'wes', 'sam', 'ann' ], '42501', 'SET session_replication_role = replica';
for my $way (
	[ '`UPDATE` of a fate', 'PF002', q{UPDATE t SET state = 'lost' WHERE id = 1} ],
	[ '`DELETE` of a fated row', 'PF006', q{DELETE FROM t WHERE id = 1} ],
	[ 'a transition off the lifecycle', 'PF003', q{UPDATE t SET state = 'won' WHERE id = 3} ],
	[ 'a change of the key', 'PF006', q{UPDATE t SET id = 11 WHERE id = 1} ],
	[ '`TRUNCATE`', 'PF006', 'TRUNCATE t' ])
{
	refused "under the replica role: $way->[0]", \@all, $way->[1], "$replica\n$way->[2]", before_super => $grant, after => $revoke;
}
refused 'under the replica role: change the ledger', \@owner, 'PF006', "$replica\nUPDATE t_fates SET fate = 'lost'", before_super => $grant, after => $revoke;
refused 'under the replica role: weaken the guard', \@owner, 'PF006', "$replica\nALTER TABLE t DISABLE TRIGGER USER", before_super => $grant, after => $revoke;
limit 'under the replica role (superusers, and whom they granted it): give a row its fate', \@all, 'it is not recorded; `verify_fates` tells, `backfill_fates` adds it',
  "$replica UPDATE t SET state = 'lost' WHERE id = 2", before_super => $grant, after => $revoke,
  left => '1 won/won, 2 lost/-, 3 draft/-', problems => '2: the row has the fate "lost", but the ledger has no row for it; backfill_fates adds it';
limit 'the same: insert a row with its fate, or in no known state', \@all, 'it is neither judged nor recorded; `verify_fates` tells',
  "$replica INSERT INTO t VALUES (4, 'won'), (5, 'reopened')", before_super => $grant, after => $revoke,
  left => '1 won/won, 2 open/-, 3 draft/-, 4 won/-, 5 reopened/-',
  problems => q{4: the row has the fate "won", but the ledger has no row for it; backfill_fates adds it; 5: the row's state "reopened" is not in the lifecycle};
refused '`petition_cas.allow_unguard = on`', [ 'wes', 'sam', 'ann' ], '42501', "SELECT roster_hash('{1}'::int[]);\nSET petition_cas.allow_unguard = on";
refused 'the same before the module is loaded in the session', ['ann'], 'PF006', "SET petition_cas.allow_unguard = on;\nALTER TABLE t DISABLE TRIGGER USER";
refused 'the same in the options of the connection', ['ann'], 'PF006', "\\c -reuse-previous=on 'options=''-c petition_cas.allow_unguard=on'''\nALTER TABLE t DISABLE TRIGGER USER";
refused '`ALTER ROLE ... SET petition_cas.allow_unguard = on`', [ 'wes', 'ann' ], '42501', 'ALTER ROLE CURRENT_USER SET petition_cas.allow_unguard = on';
limit 'with `allow_unguard`: disable the guard, change a fate', [$root], '`verify_fates` tells; the ledger still admits one fate',
  q{SET petition_cas.allow_unguard = on; ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET state = 'lost' WHERE id = 1},
  left => '1 lost/won, 2 open/-, 3 draft/-',
  problems => '1: the row has the fate "lost", but the ledger holds "won"; trigger "petition_cas_guard" of relation "t" is disabled; trigger "petition_cas_truncate" of relation "t" is disabled';
limit 'the same, `allow_unguard` being granted', ['ann'], 'as above',
  q{SET petition_cas.allow_unguard = on; ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET state = 'lost' WHERE id = 1},
  before_super => 'GRANT SET ON PARAMETER petition_cas.allow_unguard TO ann', after => 'REVOKE SET ON PARAMETER petition_cas.allow_unguard FROM ann',
  left => '1 lost/won, 2 open/-, 3 draft/-',
  problems => '1: the row has the fate "lost", but the ledger holds "won"; trigger "petition_cas_guard" of relation "t" is disabled; trigger "petition_cas_truncate" of relation "t" is disabled';
refused 'disable the event triggers', [ 'wes', 'sam', 'ann' ], '42501', 'ALTER EVENT TRIGGER petition_cas_ddl DISABLE';
limit 'disable the event triggers, then the guard', [$root], '`verify_fates` tells; the ledger still admits one fate',
  q{ALTER EVENT TRIGGER petition_cas_ddl DISABLE; ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET state = 'lost' WHERE id = 1},
  after => 'ALTER EVENT TRIGGER petition_cas_ddl ENABLE ALWAYS',
  left => '1 lost/won, 2 open/-, 3 draft/-',
  problems => '1: the row has the fate "lost", but the ledger holds "won"; trigger "petition_cas_guard" of relation "t" is disabled; trigger "petition_cas_truncate" of relation "t" is disabled';
limit 'set `petition_cas.actor`', ['wes'], '`assigned_by` is what the caller says', q{SET petition_cas.actor = 'ann'; UPDATE t SET state = 'won' WHERE id = 2},
  left => '1 won/won, 2 won/won, 3 draft/-';

# --- DDL on the table -------------------------------------------------------

$group = 'DDL on the table';

refused '`DROP COLUMN` state', \@owner, 'PF006', 'ALTER TABLE t DROP COLUMN state';
refused '`DROP COLUMN` id', \@owner, 'PF006', 'ALTER TABLE t DROP COLUMN id CASCADE';
refused '`DROP COLUMN` and `ADD COLUMN` in one', \@owner, 'PF006', q{ALTER TABLE t DROP COLUMN state, ADD COLUMN state text DEFAULT 'open'};
refused 'the same with the key', \@owner, 'PF006', q{ALTER TABLE t DROP COLUMN id, ADD COLUMN id serial PRIMARY KEY};
refused '`RENAME COLUMN` state', \@owner, 'PF006', 'ALTER TABLE t RENAME state TO status';
refused '`RENAME COLUMN` id', \@owner, 'PF006', 'ALTER TABLE t RENAME id TO number';
refused '`ALTER COLUMN` state `TYPE`', \@owner, 'PF006', 'ALTER TABLE t ALTER state TYPE varchar(20)';
refused '`ALTER COLUMN` state to the same type, with `USING`', \@owner, 'PF006', q{ALTER TABLE t ALTER state TYPE text USING 'open'};
refused '`ALTER COLUMN` id to the same type, with `USING`', \@owner, 'PF006', 'ALTER TABLE t ALTER id TYPE int USING id + 100';
refused '`ALTER COLUMN` id `DROP NOT NULL`', \@owner, 'PF006', 'ALTER TABLE t ALTER id DROP NOT NULL',
  fixture => q{CREATE TABLE t (id int UNIQUE NOT NULL, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft'); UPDATE t SET state = 'won' WHERE id = 1};
refused '`DROP CONSTRAINT` of the primary key', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT t_pkey';
refused 'a deferrable key in place of the primary key', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD UNIQUE (id) DEFERRABLE';
harmless 'replace the primary key by another', \@owner, 'it is a key as good', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD CONSTRAINT t_key PRIMARY KEY (id)';
refused '`SET SCHEMA`', \@owner, 'PF006', 'ALTER TABLE t SET SCHEMA x';
refused '`SET SCHEMA` to where an empty ledger waits', \@owner, 'PF006', 'ALTER TABLE t SET SCHEMA x',
  before => q{CREATE TABLE x.t (id int PRIMARY KEY, state text); SELECT govern('x.t', '{"open": ["won", "lost"]}'); DROP TABLE x.t};
refused '`SET SCHEMA` of an extension that the table is put into', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER EXTENSION citext ADD TABLE t; ALTER EXTENSION citext SET SCHEMA x';
refused '`DROP EXTENSION` of one that the guard depends on', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER TRIGGER petition_cas_guard ON t DEPENDS ON EXTENSION citext; DROP EXTENSION citext';
harmless '`RENAME` of the table', \@owner, 'the guard goes along', q{ALTER TABLE t RENAME TO u; DO $$ BEGIN UPDATE u SET state = 'lost' WHERE id = 1; RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$},
  after => 'ALTER TABLE w.u RENAME TO t';
harmless '`RENAME` of the schema', \@owner, 'the guard goes along',
  q{ALTER SCHEMA w RENAME TO w2; DO $$ BEGIN UPDATE w2.t SET state = 'lost' WHERE id = 1; RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$; UPDATE w2.t SET state = 'lost' WHERE id = 2},
  after => 'ALTER SCHEMA w2 RENAME TO w', left => '1 won/won, 2 lost/lost, 3 draft/-';
refused 'an inheritance child', \@owner, 'PF006', 'CREATE TABLE child () INHERITS (t)';
refused '`INHERIT` by another table', \@owner, 'PF006', 'ALTER TABLE other INHERIT t', before => 'CREATE TABLE other (LIKE t)';
refused '`INHERIT` from another table', \@owner, 'PF006', 'ALTER TABLE t INHERIT other', before => 'CREATE TABLE other (LIKE t)';
refused '`ATTACH PARTITION` to another table', \@owner, 'PF006', 'ALTER TABLE other ATTACH PARTITION t DEFAULT',
  before => 'CREATE TABLE other (LIKE t) PARTITION BY LIST (id)';
refused '`govern` an inheritance child', \@owner, '42809', q{SELECT govern('child', '{"open": ["won", "lost"]}')},
  before => 'CREATE TABLE other (id int PRIMARY KEY, state text); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (other)';
refused 'a rule that makes the table a view', \@owner, '55000', q{CREATE RULE "_RETURN" AS ON SELECT TO t DO INSTEAD SELECT 1 AS id, 'lost'::text AS state, ''::text AS note},
  second => { sql => q{CREATE RULE "_RETURN" AS ON SELECT TO t DO INSTEAD SELECT 1 AS id, 3 AS state, ''::text AS note, 7 AS tenant, ''::text AS paid} }
  if $node->pg_version < 16;
refused 'typed table: `ALTER TYPE ... ALTER ATTRIBUTE`', \@owner, 'PF006', 'ALTER TYPE row_type ALTER ATTRIBUTE state TYPE varchar CASCADE', fixture => $typed;
refused 'typed table: `RENAME ATTRIBUTE`', \@owner, 'PF006', 'ALTER TYPE row_type RENAME ATTRIBUTE state TO status CASCADE', fixture => $typed;
refused 'typed table: `DROP ATTRIBUTE`, and `ADD ATTRIBUTE` in one', \@owner, 'PF006',
  'ALTER TYPE row_type DROP ATTRIBUTE state CASCADE, ADD ATTRIBUTE state text CASCADE', fixture => $typed;
refused 'enum: `RENAME VALUE`', \@owner, 'PF006', q{ALTER TYPE stage RENAME VALUE 'won' TO 'reopened'}, fixture => $enum;
refused 'enum: `DROP TYPE ... CASCADE`', \@owner, 'PF006', 'DROP TYPE stage CASCADE', fixture => $enum;
harmless 'enum: a cast of the owner', \@owner, 'no cast of a user is used',
  q{CREATE FUNCTION cast_it(stage) RETURNS text LANGUAGE sql AS $$ SELECT 'open'::text $$; CREATE CAST (stage AS text) WITH FUNCTION cast_it(stage) AS ASSIGNMENT; SELECT compare_and_swap(null::t, '2', 'open', 'won'); DROP CAST (stage AS text)},
  fixture => $enum, left => '1 won/won, 2 won/won, 3 draft/-';
harmless '`DROP OWNED BY` another role', [$root], 'what it owns is not this', 'DROP OWNED BY sam';
harmless '`CLUSTER`, `VACUUM FULL`, `REINDEX`', \@owner, 'rows stay what they are', "CLUSTER t USING t_pkey;\nVACUUM FULL t;\nREINDEX TABLE t_fates";
harmless 'a default for the state that is a fate', \@owner, 'it is recorded', q{ALTER TABLE t ALTER state SET DEFAULT 'won'; INSERT INTO t (id) VALUES (4)},
  left => '1 won/won, 2 open/-, 3 draft/-, 4 won/won';
limit '`SET UNLOGGED`', \@owner, 'a crash empties the table, not the ledger', 'ALTER TABLE t SET UNLOGGED';
limit '`DROP TABLE`', \@owner, 'the ledger stays',
  q{DROP TABLE t}, rows => q{SELECT string_agg(id || fate, ' ') FROM t_fates}, left => '1won', no_verify => 1;
refused '`DROP TABLE`, and a new table of that name that takes the ledger over', \@owner, '55000',
  "BEGIN; SET ROLE ann; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, state text);\nSELECT govern('t', '{\"draft\": [\"open\"], \"open\": [\"won\", \"lost\"]}')";
limit '`DROP TABLE` of the table and its ledger in one, `DROP SCHEMA CASCADE`', \@owner, 'all is gone, as it is said', 'DROP TABLE t, t_fates',
  rows => q{SELECT to_regclass('t') IS NULL AND to_regclass('t_fates') IS NULL}, left => 't', no_verify => 1;

# --- Partitions -------------------------------------------------------------

$group = 'Partitions';

refused '`UPDATE` of a fate in its partition', \@all, 'PF002', q{UPDATE t_low SET state = 'lost' WHERE id = 1}, fixture => $partitioned;
refused '`UPDATE` that moves a fated row', \@all, 'PF006', 'UPDATE t SET id = 11 WHERE id = 1', fixture => $partitioned;
refused '`TRUNCATE` of the whole', \@all, 'PF006', 'TRUNCATE t', fixture => $partitioned;
refused '`DISABLE TRIGGER` on a partition', \@owner, 'PF006', 'ALTER TABLE t_low DISABLE TRIGGER USER', fixture => $partitioned;
refused '`DROP TRIGGER` on a partition', \@owner, '2BP01', 'DROP TRIGGER petition_cas_guard ON t_low', fixture => $partitioned;
refused '`DETACH`, change a fate, `ATTACH`', \@owner, '55000',
  "ALTER TABLE t DETACH PARTITION t_low; UPDATE t_low SET state = 'lost' WHERE id = 1;\nALTER TABLE t ATTACH PARTITION t_low FOR VALUES FROM (0) TO (10)",
  fixture => $partitioned, after => q{UPDATE t_low SET state = 'won' WHERE id = 1; ALTER TABLE t ATTACH PARTITION t_low FOR VALUES FROM (0) TO (10)};
refused '`ATTACH` of rows that the ledger gives other fates', \@owner, '55000', 'ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (20) TO (30)',
  fixture => $partitioned, before => q{CREATE TABLE other (id int PRIMARY KEY, state text, note text); INSERT INTO other VALUES (21, 'lost'); INSERT INTO t_fates VALUES (21, null, 'won', now(), 'ann', '3')},
  left => "$fixture_left, 21 -/won";
refused '`ATTACH` of rows in unknown states', \@owner, '22023', 'ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (20) TO (30)',
  fixture => $partitioned, before => q{CREATE TABLE other (id int PRIMARY KEY, state text, note text); INSERT INTO other VALUES (21, 'reopened')};
harmless '`ATTACH` of fated rows', \@owner, 'their fates are recorded', 'ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (20) TO (30)',
  fixture => $partitioned, before => q{CREATE TABLE other (id int PRIMARY KEY, state text, note text); INSERT INTO other VALUES (21, 'lost')},
  left => "$fixture_left, 21 lost/lost";
refused '`govern` a partition on its own', \@owner, '42809', q{SELECT govern('t_low', '{"open": ["won", "lost"]}')}, fixture => $partitioned;
refused '`ungovern` a partition on its own', \@owner, '42809', q{SELECT ungovern('t_low')}, fixture => $partitioned;
refused '`ALTER COLUMN TYPE` of the whole', \@owner, 'PF006', q{ALTER TABLE t ALTER state TYPE text USING 'open'}, fixture => $partitioned;
limit '`DETACH` and change rows', \@owner, 'the rows are out of it, the fates stay: no second one for their keys',
  q{ALTER TABLE t DETACH PARTITION t_low; UPDATE t_low SET state = 'lost' WHERE id = 1; CREATE TABLE t_new PARTITION OF t FOR VALUES FROM (0) TO (10); INSERT INTO t VALUES (1, 'open'); DO $$ BEGIN UPDATE t SET state = 'lost' WHERE id = 1; RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$},
  fixture => $partitioned, left => '1 open/won', problems => q{1: the row's state is "open", but the ledger holds the fate "won"};
limit '`TRUNCATE` or `DROP` of one partition', \@owner, 'rows go, fates stay: no second one for their keys',
  q{TRUNCATE t_low; DO $$ BEGIN INSERT INTO t VALUES (1, 'lost'); RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$}, fixture => $partitioned, left => '1 -/won';

# --- The history ------------------------------------------------------------

$group = 'The history';

my @history = (fixture => $with_history, rows => q{SELECT string_agg(format('%s %s-%s', id, from_state, to_state), ', ' ORDER BY id, moved_at) FROM t_history},
	left => '1 -open, 1 open-won, 2 -open, 3 -draft');
my @moved = (@history, left => '1 -open, 1 open-won, 2 -open, 2 open-lost, 3 -draft');

refused '`UPDATE`', \@owner, 'PF006', q{UPDATE t_history SET to_state = 'lost'}, @history;
refused '`UPDATE` of who it was', \@owner, 'PF006', q{UPDATE t_history SET moved_by = 'x'}, @history;
refused '`DELETE`', \@owner, 'PF006', 'DELETE FROM t_history', @history;
refused '`TRUNCATE`', \@owner, 'PF006', 'TRUNCATE t_history', @history;
refused '`TRUNCATE` with the ledger', \@owner, 'PF006', 'TRUNCATE t_history, t_fates', @history;
refused '`TRUNCATE` with the table, while there are fates', \@owner, 'PF006', 'TRUNCATE t, t_history', @history;
refused '`TRUNCATE` of all three, with the right to', ['wes'], 'PF006', 'TRUNCATE t, t_fates, t_history', @history, before => 'GRANT TRUNCATE ON t_fates, t_history TO wes',
  second => { before => 'GRANT TRUNCATE ON t_fates, t_state_fates, t_state_history TO wes' };
limit '`TRUNCATE` of all three in one command', \@owner, 'begins anew: nothing is left of what was', 'TRUNCATE t, t_fates, t_history', @history, left => '';
harmless '`TRUNCATE` of table and ledger', \@owner, 'the history keeps what it holds', 'TRUNCATE t, t_fates', @history;
refused '`MERGE` that deletes', \@owner, 'PF006', 'MERGE INTO t_history h USING t ON t.id = h.id WHEN MATCHED THEN DELETE', @history;
refused 'any of it, without rights on the history', [ 'wes', 'sam' ], '42501', q{INSERT INTO t_history VALUES (2, 'open', 'lost', now(), 'wes', '3')}, @history;
limit 'forge a row', \@owner, 'the owner may write rows of his own', q{INSERT INTO t_history VALUES (2, 'open', 'lost', now(), 'ann', '3')}, @moved;
refused '`DROP TABLE`', \@owner, 'PF006', 'DROP TABLE t_history CASCADE', @history;
refused '`RENAME`', \@owner, 'PF006', 'ALTER TABLE t_history RENAME TO other', @history;
refused '`RENAME`, and another table in its place', \@owner, 'PF006', 'BEGIN; CREATE TABLE other (LIKE t_history); ALTER TABLE t_history RENAME TO former; ALTER TABLE other RENAME TO t_history', @history;
refused '`SET SCHEMA`', \@owner, 'PF006', 'ALTER TABLE t_history SET SCHEMA x', @history;
refused '`DISABLE TRIGGER`', \@owner, 'PF006', 'ALTER TABLE t_history DISABLE TRIGGER ALL', @history;
refused '`DROP TRIGGER`', \@owner, 'PF006', 'DROP TRIGGER petition_cas_ledger ON t_history', @history;
refused '`DROP TRIGGER` against `TRUNCATE`', \@owner, 'PF006', 'DROP TRIGGER petition_cas_ledger_truncate ON t_history', @history;
refused '`CREATE OR REPLACE TRIGGER` with a condition', \@owner, 'PF006',
  'CREATE OR REPLACE TRIGGER petition_cas_ledger BEFORE UPDATE OR DELETE ON t_history FOR EACH ROW WHEN (false) EXECUTE FUNCTION guard_ledger()', @history;
refused 'a rule that sends its rows elsewhere', \@owner, 'PF006', 'CREATE RULE r AS ON INSERT TO t_history DO INSTEAD NOTHING', @history;
refused 'a `BEFORE` trigger', \@owner, 'PF006', 'CREATE TRIGGER r BEFORE INSERT ON t_history FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', @history;
refused '`DROP COLUMN`', \@owner, 'PF006', 'ALTER TABLE t_history DROP reason', @history;
refused '`ALTER COLUMN TYPE`', \@owner, 'PF006', q{ALTER TABLE t_history ALTER to_state TYPE text USING 'lost'}, @history;
refused '`SET UNLOGGED`', \@owner, 'PF006', 'ALTER TABLE t_history SET UNLOGGED', @history;
refused 'give it to another owner', \@owner, 'PF006', 'ALTER TABLE t_history OWNER TO ann_too', @history;
refused '`CREATE OR REPLACE TRIGGER` for a guard without a history', \@owner, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"draft": ["open"], "open": ["won", "lost"]}')}, @history;
refused 'a guard on another table that names this table\'s history', \@owner, 'PF006',
  q{CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'u_fates', '{"open": ["won"]}', '{"history": "t_history"}')},
  @history, before => 'CREATE TABLE u (id int PRIMARY KEY, state text)';
refused 'a guard of another role\'s table that names this table\'s history', ['sam'], '42501',
  q{CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'u_fates', '{"open": ["won"]}', '{"history": "t_history"}')},
  @history, before_super => 'CREATE TABLE w.u (id int PRIMARY KEY, state text); ALTER TABLE w.u OWNER TO sam';
refused '`govern` the history', \@owner, '42809', q{SELECT govern('t_history', '{"open": ["won"]}', 'id', 'to_state')}, @history;
refused 'a move by the default of a new column of the history, which the rewrite would lose', \@owner, '55006', 'ALTER TABLE t_history ADD x int DEFAULT f()', @history,
  before => q{CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE w.t SET state = 'lost' WHERE id = 2; RETURN 1; END $$};
refused 'a move while the history is without its trigger', \@owner, '55000', q{UPDATE t SET state = 'open' WHERE id = 3}, @history,
  before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.t_history DISABLE TRIGGER petition_cas_ledger',
  problems => 'trigger "petition_cas_ledger" of relation "t_history" is disabled';
harmless 'savepoints: roll the move back', \@all, 'so is its record', q{BEGIN; SAVEPOINT s; UPDATE t SET state = 'lost' WHERE id = 2; ROLLBACK TO s; COMMIT}, @history;
harmless 'a writer without rights on it moves a row', ['wes'], 'it is recorded', q{UPDATE t SET state = 'lost' WHERE id = 2}, @moved;
harmless 'row security on the history, forced', \@all, 'it is recorded', q{UPDATE t SET state = 'lost' WHERE id = 2}, @moved,
  before => 'ALTER TABLE t_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY';
harmless 'a history of the same name in `pg_temp`', \@all, 'it is recorded in the table\'s', "CREATE TEMP TABLE t_history (LIKE w.t_history); SET search_path = pg_temp, w, public;\nUPDATE w.t SET state = 'lost' WHERE id = 2", @moved,
  before => 'GRANT SELECT ON t_history TO wes';

my @names = (fixture => $with_history, rows => q{SELECT string_agg(DISTINCT format('%s %s', by, what), ', ') FROM (SELECT assigned_by, fate FROM t_fates UNION ALL SELECT moved_by, to_state FROM t_history) n (by, what)},
	left => 'ann draft, ann open, ann won');
refused '`forget_actor`', [ 'wes', 'sam' ], '42501', q{SELECT forget_actor('t', 'ann', 'x')}, @names;
harmless '`forget_actor`', \@owner, 'names are replaced, and nothing else', q{SELECT forget_actor('t', 'ann', 'x')}, @names, left => 'x draft, x open, x won';
refused '`forget_actor`, with a trigger of the ledger that forges the fate', \@owner, '55000', q{SELECT forget_actor('t', 'ann', 'x')}, @names,
  before => q{CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.fate = 'lost'; RETURN new; END $$; CREATE TRIGGER z BEFORE UPDATE ON t_fates FOR EACH ROW EXECUTE FUNCTION forge()};
refused '... that forges it first', \@owner, '55000', q{SELECT forget_actor('t', 'ann', 'x')}, @names,
  before => q{CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.fate = 'lost'; RETURN new; END $$; CREATE TRIGGER a BEFORE UPDATE ON t_fates FOR EACH ROW EXECUTE FUNCTION forge()};
refused '... that keeps the row as it is', \@owner, '55000', q{SELECT forget_actor('t', 'ann', 'x')}, @names,
  before => q{CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER a BEFORE UPDATE ON t_fates FOR EACH ROW EXECUTE FUNCTION keep()};
refused '... and another one that changes rows meanwhile', \@owner, 'PF006', q{SELECT forget_actor('t', 'ann', 'x')}, @names,
  before => q{CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE w.t_fates SET assigned_by = 'y'; RETURN NULL; END $$; CREATE TRIGGER a AFTER UPDATE ON t_fates FOR EACH ROW EXECUTE FUNCTION meddle()};
refused '... and a constraint that does', \@owner, 'PF006', q{SELECT forget_actor('t', 'ann', 'x')}, @names,
  before => q{CREATE FUNCTION meddle(by text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN UPDATE w.t_fates SET fate = 'lost', assigned_by = 'x' WHERE assigned_by = 'ann'; RETURN true; END $$; ALTER TABLE t_fates ADD CHECK (meddle(assigned_by)) NOT VALID};
refused 'after `forget_actor`, in the same session: change a name', \@owner, 'PF006', "SELECT forget_actor('t', 'ann', 'ann');\nUPDATE t_history SET moved_by = 'x'", @names;

# --- The ledger -------------------------------------------------------------

$group = 'The ledger';

refused '`UPDATE`', \@owner, 'PF006', q{UPDATE t_fates SET fate = 'lost'};
refused '`DELETE`', \@owner, 'PF006', 'DELETE FROM t_fates';
refused '`TRUNCATE`', \@owner, 'PF006', 'TRUNCATE t_fates';
refused '`TRUNCATE` with another table than its own', \@owner, 'PF006', 'CREATE TABLE empty (id int); TRUNCATE t_fates, empty';
refused '`TRUNCATE` after the rows without a fate were deleted', \@owner, 'PF006', 'DELETE FROM t WHERE id > 1; TRUNCATE t_fates', left => '1 won/won';
limit '`TRUNCATE` of the table and its ledgers in one command', \@owner, 'begins anew: nothing is left of what was', 'TRUNCATE t, t_fates', left => '';
refused '`TRUNCATE` of both, with the right to', [ 'wes' ], 'PF006', 'TRUNCATE t, t_fates', before => 'GRANT TRUNCATE ON t_fates TO wes', second => { before => 'GRANT TRUNCATE ON t_fates, t_state_fates TO wes' };
refused '`MERGE` that deletes', \@owner, 'PF006', 'MERGE INTO t_fates f USING t ON t.id = f.id WHEN MATCHED THEN DELETE';
refused 'an upsert', \@owner, 'PF006', q{INSERT INTO t_fates VALUES (1, null, 'lost', now(), 'ann', '3') ON CONFLICT (id) DO UPDATE SET fate = 'lost'};
refused 'a second row for a key', \@owner, '23505', q{INSERT INTO t_fates VALUES (1, null, 'lost', now(), 'ann', '3')};
refused 'any of it, without rights on the ledger', [ 'wes', 'sam' ], '42501', q{INSERT INTO t_fates VALUES (2, null, 'lost', now(), 'wes', '3')};
limit 'forge a row for a key without a fate', \@owner, 'the row gets no fate (`PF002`); `verify_fates` tells',
  q{INSERT INTO t_fates VALUES (2, null, 'lost', now(), 'ann', '3'); DO $$ BEGIN UPDATE t SET state = 'won' WHERE id = 2; RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$},
  left => '1 won/won, 2 open/lost, 3 draft/-', problems => q{2: the row's state is "open", but the ledger holds the fate "lost"};
refused '`DROP TABLE`', \@owner, 'PF006', 'DROP TABLE t_fates';
refused '`DROP TABLE ... CASCADE`', \@owner, 'PF006', 'DROP TABLE t_fates CASCADE';
refused '`RENAME`', \@owner, 'PF006', 'ALTER TABLE t_fates RENAME TO other';
refused '`ALTER INDEX ... RENAME` of the ledger itself', \@owner, 'PF006', 'ALTER INDEX t_fates RENAME TO other';
refused '`SET SCHEMA`', \@owner, 'PF006', 'ALTER TABLE t_fates SET SCHEMA x';
refused '`SET SCHEMA` of an extension that it is put into', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER EXTENSION citext ADD TABLE t_fates; ALTER EXTENSION citext SET SCHEMA x';
refused '`DROP EXTENSION` of one that it is put into', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER EXTENSION citext ADD TABLE t_fates; DROP EXTENSION citext';
refused '`DROP SCHEMA ... CASCADE` of the schema of one that it is put into', [$root], 'PF006',
  'CREATE SCHEMA evil; CREATE EXTENSION citext SCHEMA evil; ALTER EXTENSION citext ADD TABLE t_fates; DROP SCHEMA evil CASCADE';
refused '`DROP EXTENSION` of one that its trigger depends on', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER TRIGGER petition_cas_ledger ON t_fates DEPENDS ON EXTENSION citext; DROP EXTENSION citext';
refused '`DROP EXTENSION ... CASCADE` of one that its primary key depends on', [$root], 'PF006',
  'CREATE EXTENSION citext SCHEMA w; ALTER INDEX t_fates_pkey DEPENDS ON EXTENSION citext; DROP EXTENSION citext CASCADE';
refused '`RENAME COLUMN` of the key', \@owner, 'PF006', 'ALTER TABLE t_fates RENAME id TO number';
refused '`RENAME COLUMN` fate', \@owner, 'PF006', 'ALTER TABLE t_fates RENAME fate TO verdict';
refused '`DROP COLUMN`', \@owner, 'PF006', 'ALTER TABLE t_fates DROP COLUMN fate';
refused '`DROP COLUMN` and `ADD COLUMN` in one', \@owner, 'PF006', q{ALTER TABLE t_fates DROP COLUMN fate, ADD COLUMN fate text NOT NULL DEFAULT 'lost'};
refused 'the same with the key', \@owner, 'PF006', 'ALTER TABLE t_fates DROP COLUMN id, ADD COLUMN id serial PRIMARY KEY';
refused '`ALTER COLUMN TYPE` with `USING`', \@owner, 'PF006', q{ALTER TABLE t_fates ALTER fate TYPE text USING 'lost'};
refused '`DROP CONSTRAINT` of the primary key', \@owner, 'PF006', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey';
refused 'a deferrable primary key in its place', \@owner, 'PF006', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey, ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED';
refused '`SET UNLOGGED`', \@owner, 'PF006', 'ALTER TABLE t_fates SET UNLOGGED';
refused '`DISABLE TRIGGER`', \@owner, 'PF006', 'ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger';
refused '`ENABLE TRIGGER ALL`', \@owner, 'PF006', 'ALTER TABLE t_fates ENABLE TRIGGER ALL';
refused '`DROP TRIGGER`', \@owner, 'PF006', 'DROP TRIGGER petition_cas_ledger ON t_fates';
refused '`DROP TRIGGER` against `TRUNCATE`', \@owner, 'PF006', 'DROP TRIGGER petition_cas_ledger_truncate ON t_fates';
refused '`CREATE OR REPLACE TRIGGER ... WHEN (false)`', \@owner, 'PF006',
  'CREATE OR REPLACE TRIGGER petition_cas_ledger BEFORE UPDATE OR DELETE ON t_fates FOR EACH ROW WHEN (false) EXECUTE FUNCTION guard_ledger()';
refused '`CREATE OR REPLACE TRIGGER` with another function', \@owner, 'PF006',
  'CREATE OR REPLACE TRIGGER petition_cas_ledger BEFORE UPDATE OR DELETE ON t_fates FOR EACH ROW EXECUTE FUNCTION other()',
  before => q{CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'};
refused '`INHERIT` from another table', \@owner, 'PF006', 'ALTER TABLE t_fates INHERIT other', before => 'CREATE TABLE other (LIKE t_fates)';
refused 'an inheritance child', \@owner, 'PF006', 'CREATE TABLE child () INHERITS (t_fates)';
refused '`ATTACH PARTITION` to another table', \@owner, 'PF006', 'ALTER TABLE other ATTACH PARTITION t_fates DEFAULT',
  before => 'CREATE TABLE other (LIKE t_fates) PARTITION BY LIST (assigned_by)';
refused 'make it a typed table', \@owner, 'PF006', 'ALTER TABLE t_fates OF ledger_type',
  before => 'CREATE TYPE ledger_type AS (id int, from_state text, fate text, assigned_at timestamptz, assigned_by text, transaction_id xid8, reason text, request_id text, evidence_hash text)',
  second => { before => 'CREATE TYPE ledger_type AS (tenant int, id int, from_state text, fate text, assigned_at timestamptz, assigned_by text, transaction_id xid8, reason text, request_id text, evidence_hash text)' };
refused '`govern` the ledger', \@owner, '42809', q{SELECT govern('t_fates', '{"open": ["won", "lost"]}', state_column => 'fate')};
refused 'a table of a stranger in the place of the ledger, before `govern`', \@owner, '55000', q{SELECT govern('u', '{"open": ["won", "lost"]}')},
  before => 'CREATE TABLE u (id int PRIMARY KEY, state text)',
  before_super => 'CREATE TABLE u_fates (id int PRIMARY KEY, from_state text, fate text NOT NULL, assigned_at timestamptz NOT NULL, assigned_by text NOT NULL, transaction_id xid8 NOT NULL); ALTER TABLE u_fates OWNER TO sam';
refused 'give it to another owner', \@owner, 'PF006', q{ALTER TABLE t_fates OWNER TO ann_too};
harmless 'give the table to another owner', \@owner, 'the ledger goes along', q{ALTER TABLE t OWNER TO ann_too; SELECT 1 / (relowner = 'ann_too'::regrole)::int FROM pg_class WHERE oid = 'w.t_fates'::regclass},
  after => 'ALTER TABLE w.t OWNER TO ann';
refused 'the ledger of another owner, if a superuser let it be: give a row its fate', \@all, '42501', q{UPDATE t SET state = 'won' WHERE id = 2},
  before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.t_fates OWNER TO ann_too',
  problems => 'ledger "t_fates" belongs to another role than the table';
refused 'the same: rename it', \@owner, 'PF006', 'ALTER TABLE t_fates RENAME TO other',
  before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.t_fates OWNER TO ann_too',
  problems => 'ledger "t_fates" belongs to another role than the table';
harmless '`REASSIGN OWNED`', [$root], 'both change hands', q{REASSIGN OWNED BY ann TO ann_too; UPDATE t SET state = 'lost' WHERE id = 2},
  left => '1 won/won, 2 lost/lost, 3 draft/-', after => 'REASSIGN OWNED BY ann_too TO ann';
harmless 'row security on the ledger, forced', \@all, 'the guard sees all of it', q{UPDATE t SET state = 'lost' WHERE id = 2; DO $$ BEGIN INSERT INTO t VALUES (9, 'lost'); RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$},
  before => q{INSERT INTO t_fates VALUES (9, null, 'won', now(), 'ann', '3'); ALTER TABLE t_fates ENABLE ROW LEVEL SECURITY; ALTER TABLE t_fates FORCE ROW LEVEL SECURITY},
  left => '1 won/won, 2 lost/lost, 3 draft/-, 9 -/won', problems => '9: the ledger holds the fate "won", but the row is gone';

# --- The extension ----------------------------------------------------------

$group = 'The extension';

refused '`DROP FUNCTION guard_fate() CASCADE`', [$root], '2BP01', 'DROP FUNCTION guard_fate() CASCADE';
refused 'the same, or another body for it', [ 'wes', 'sam', 'ann' ], '42501', q{CREATE OR REPLACE FUNCTION public.guard_fate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN null; END'};
refused '`DROP EVENT TRIGGER`', [$root], '2BP01', 'DROP EVENT TRIGGER petition_cas_ddl';
refused '`DROP EXTENSION CASCADE`', [ 'wes', 'sam', 'ann' ], '42501', 'DROP EXTENSION petition_cas CASCADE';
limit '`DROP EXTENSION CASCADE`', [$root], 'nothing is kept any more; tables and ledgers stay, and `govern` takes the ledgers over',
  q{DROP EXTENSION petition_cas CASCADE}, after => q{CREATE EXTENSION petition_cas SCHEMA public; SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}')};
harmless '`ALTER EXTENSION SET SCHEMA`', [$root], 'guards go along', q{ALTER EXTENSION petition_cas SET SCHEMA x; DO $$ BEGIN UPDATE t SET state = 'lost' WHERE id = 1; RAISE 'second'; EXCEPTION WHEN SQLSTATE 'PF002' THEN END $$; DO $$ BEGIN DROP TRIGGER petition_cas_guard ON t; RAISE 'dropped'; EXCEPTION WHEN SQLSTATE 'PF006' THEN END $$},
  after => 'ALTER EXTENSION petition_cas SET SCHEMA public';
limit 'edit the catalogs, start in single-user mode, write data files', [$root], 'anything; `verify_fates` tells what it can',
  q{SET allow_system_table_mods = on; UPDATE pg_trigger SET tgenabled = 'D' WHERE tgname = 'petition_cas_guard' AND tgrelid = 't'::regclass},
  problems => 'trigger "petition_cas_guard" of relation "t" is disabled';

# --- Rights -----------------------------------------------------------------

$group = 'Rights';

refused 'a stranger calls compare_and_swap', ['sam'], '42501', q{SELECT compare_and_swap(null::w.t, '2', 'open', 'won')};
for my $call (q{govern('w.t', '{"open": ["won", "lost"]}')}, q{ungovern('w.t')}, q{extend_lifecycle('w.t', '{"open": ["void"]}')}, q{verify_fates('w.t')}, q{backfill_fates('w.t')})
{
	my ($name) = $call =~ /^(\w+)/;
	refused "others call `$name`", [ 'wes', 'sam' ], '42501', "SELECT $call";
}
refused 'a stranger puts a guard that names the ledger on a table of his own', ['sam'], '42501',
  q{CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["lost"]}')},
  before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam};
refused 'a stranger uses such a guard, if a superuser gave it to him', ['sam'], '42501', q{INSERT INTO bait VALUES (2, 'lost')},
  before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam;
	SET petition_cas.allow_unguard = on;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["lost"]}')};
refused 'the same trigger before each row, or for each statement', ['sam'], '39P01', q{INSERT INTO bait VALUES (2, 'lost')},
  before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam;
	SET petition_cas.allow_unguard = on;
	CREATE TRIGGER petition_cas_guard BEFORE INSERT OR UPDATE OR DELETE ON bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["lost"]}')};
refused 'row security hides the row from the caller', ['wes'], 'PF004', q{SELECT compare_and_swap(null::t, '1', 'open', 'won')},
  before => 'ALTER TABLE t ENABLE ROW LEVEL SECURITY';
refused 'row security lets the caller read but not update', ['wes'], '55000', q{SELECT compare_and_swap(null::t, '2', 'open', 'won')},
  before => 'ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t FOR SELECT USING (true)';
refused 'row security forced on the owner', ['ann'], 'PF004', q{SELECT compare_and_swap(null::t, '1', 'open', 'won')},
  before => 'ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY';
refused 'a policy that admits a fated row to be changed', ['wes'], 'PF002', q{UPDATE t SET state = 'lost' WHERE id = 1},
  before => 'ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (true) WITH CHECK (true)';
harmless 'row security forced on the owner, who verifies', ['ann'], 'all rows are compared', q{SELECT 1 / (count(*) = 0)::int FROM verify_fates('t')},
  before => 'ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; ALTER TABLE t_fates ENABLE ROW LEVEL SECURITY; ALTER TABLE t_fates FORCE ROW LEVEL SECURITY';

# --- Names ------------------------------------------------------------------

$group = 'Names';

# Whatever is found first along the search_path fails when it is used.
my $evil = q{
	CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
	CREATE FUNCTION evil.spring(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''hijacked by %'', $1; END';
	CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''text =''); END';
	CREATE FUNCTION evil.eq(int, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''int =''); END';
	CREATE FUNCTION evil.eq(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''uuid =''); END';
	CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
	CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.eq);
	CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.eq);
	CREATE OPERATOR evil.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.eq);
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''now''); END';
	CREATE FUNCTION evil.char_length(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''char_length''); END';
	CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''octet_length''); END';
	CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''gen_random_uuid''); END';
	CREATE FUNCTION evil.array_position(anyarray, anyelement) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''array_position''); END';
	CREATE FUNCTION evil.guard_fate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''guard_fate''); END';
	CREATE FUNCTION evil.guard_truncate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''guard_truncate''); END';
	CREATE FUNCTION evil.guard_ledger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''guard_ledger''); END';
	CREATE FUNCTION evil.petition_lifecycle() RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''petition_lifecycle''); END';
	CREATE FUNCTION evil.pg_event_trigger_ddl_commands() RETURNS SETOF record LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''ddl_commands''); END';
	CREATE FUNCTION evil.pg_event_trigger_dropped_objects() RETURNS SETOF record LANGUAGE plpgsql AS 'BEGIN PERFORM evil.spring(''dropped_objects''); END';
	CREATE DOMAIN evil.text AS pg_catalog.varchar CHECK (false);
	CREATE DOMAIN evil.uuid AS pg_catalog.text CHECK (false);
	CREATE DOMAIN evil.timestamptz AS pg_catalog.text CHECK (false);
	CREATE DOMAIN evil.xid8 AS pg_catalog.text CHECK (false);
	CREATE COLLATION evil."C" (provider = icu, locale = 'und', deterministic = false);
	CREATE TABLE evil.t_fates (id int PRIMARY KEY, from_state pg_catalog.text, fate pg_catalog.text, assigned_at pg_catalog.timestamptz, assigned_by pg_catalog.text, transaction_id pg_catalog.xid8);
	GRANT ALL ON evil.t_fates TO PUBLIC};
$evil =~ s/^.*evil\."C".*\n//m unless $node->safe_psql('postgres', q{SELECT count(*) FROM pg_collation WHERE collprovider = 'i'}) > 0;
my $evil_path = 'SET search_path = evil, pg_catalog, w, public;';
my $temp = 'CREATE TEMP TABLE t_fates (id int, fate pg_catalog.text); CREATE TYPE pg_temp.text AS ENUM (); CREATE TYPE pg_temp.uuid AS ENUM (); CREATE TEMP TABLE t (id int, state pg_catalog.text);';

# The petitions of this group are in the schema x.
my $petitions = q{SET search_path = x, public; SELECT create_petitions(); GRANT ALL ON petition_submissions TO wes; GRANT USAGE ON SCHEMA x TO wes; INSERT INTO petition_submissions (id, text) SELECT lpad(n::text, 32, '0')::uuid, 'x' FROM generate_series(1, 9) n; RESET search_path};
for my $path ([ 'an earlier schema', '', $evil_path ], [ '`pg_temp`', $temp, 'SET search_path = pg_temp, pg_catalog, w, public;' ])
{
	my ($where, $make, $set) = @$path;
	my @more = (before_super => $evil);
	my $note = 'every name in a statement has its schema';

	harmless "hostile operators, functions, types and tables in $where: a direct `UPDATE`", \@all, $note,
	  "$make $set UPDATE w.t SET state = 'lost' WHERE note IS NULL AND id OPERATOR(pg_catalog.=) 2", @more, left => '1 won/won, 2 lost/lost, 3 draft/-';
	harmless "... in $where: compare_and_swap, each outcome of try_compare_and_swap", \@all, $note,
	  "$make $set SELECT compare_and_swap(null::w.t, '2', 'open', 'lost'); SELECT (try_compare_and_swap(null::w.t, k, 'open', 'won')).* FROM unnest('{1,2,3,4}'::pg_catalog.text[]) k; SELECT try_compare_and_swap(null::w.t, '3', 'draft', 'won')",
	  @more, left => '1 won/won, 2 lost/lost, 3 draft/-';
	harmless "... in $where: petitions", \@all, $note,
	  "$make " . ($make ? 'SET search_path = pg_temp, pg_catalog, x, public;' : 'SET search_path = evil, pg_catalog, x, public;')
	  . q{ SELECT assign_fate(lpad('1', 32, '0')::pg_catalog.uuid, 'RECEIVED', 'ACKNOWLEDGED', 'y'); SELECT try_assign_fate(lpad('1', 32, '0')::pg_catalog.uuid, 'RECEIVED', 'ACKNOWLEDGED'); SELECT assign_fates((SELECT array_agg(lpad(n::pg_catalog.text, 32, '0')::pg_catalog.uuid) FROM generate_series(1, 10) n), 'RECEIVED', 'ACKNOWLEDGED'); SELECT 1 / (count(*) OPERATOR(pg_catalog.=) 9)::pg_catalog.int4 FROM x.petition_submissions WHERE state OPERATOR(pg_catalog.=) 'ACKNOWLEDGED'},
	  before => $petitions, @more;
	harmless "... in $where: verify_fates, backfill_fates, extend_lifecycle, and the questions", \@owner, $note,
	  "$make $set SELECT verify_fates('w.t'), backfill_fates('w.t'), lifecycle('w.t'), is_fate('w.t', 'won'), allowed_transitions('w.t', 'open'), lifecycle_diagram('w.t'), extend_lifecycle('w.t', '{\"open\": [\"void\"]}')", @more;
	harmless "... in $where: ungovern and govern", \@owner, $note,
	  "$make $set SELECT ungovern('w.t'); SELECT govern('w.t', '{\"draft\": [\"open\"], \"open\": [\"won\", \"lost\"]}')", @more;
	refused "... in $where: DDL", \@owner, 'PF006', "$make $set\nALTER TABLE w.t DISABLE TRIGGER petition_cas_guard", @more;
	refused "... in $where: drops", \@owner, 'PF006', "$make $set\nDROP TABLE w.t_fates", @more;
}
harmless 'hostile names in an earlier schema: create_petitions', \@owner, 'every name in a statement has its schema',
  q{SET search_path = x, evil, pg_catalog, public; SELECT create_petitions(); SELECT 1 / (format_type(atttypid, -1) OPERATOR(pg_catalog.=) 'pg_catalog.uuid' OR format_type(atttypid, -1) OPERATOR(pg_catalog.=) 'uuid')::pg_catalog.int4 FROM pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) 'x.petition_submissions'::regclass AND attname OPERATOR(pg_catalog.=) 'id'},
  before_super => $evil;
refused 'a temporary `petition_submissions`', \@all, '55000', qq{CREATE TEMP TABLE petition_submissions (id uuid, state text);\nSELECT assign_fate(lpad('1', 32, '0')::uuid, 'RECEIVED', 'ACKNOWLEDGED')};
refused 'a ledger of the same name in `pg_temp`', \@all, 'PF002', "CREATE TEMP TABLE t_fates (id int, fate text); SET search_path = pg_temp, w, public;\nUPDATE w.t SET state = 'lost' WHERE id = 1", before => 'GRANT SELECT ON t_fates TO wes';
# What is prepared for the one schema is not used for the other that has its name now.
harmless 'two schemas that swap names between two calls of one session', \@owner, 'each table writes into its own ledger', q{
	PREPARE swap_t(text) AS SELECT compare_and_swap(null::t, $1, 'open', 'won');
	EXECUTE swap_t('2');
	UPDATE t SET state = 'open' WHERE id = 3;
	ALTER SCHEMA w RENAME TO y; ALTER SCHEMA x RENAME TO w; ALTER SCHEMA y RENAME TO x;
	UPDATE w.t SET state = 'lost' WHERE id = 2; UPDATE x.t SET state = 'lost' WHERE id = 3; SELECT compare_and_swap(null::w.t, '3', 'open', 'lost');
	ALTER SCHEMA w RENAME TO y; ALTER SCHEMA x RENAME TO w; ALTER SCHEMA y RENAME TO x},
  before => q{CREATE TABLE x.t (id int PRIMARY KEY, state text); SELECT govern('x.t', '{"open": ["won", "lost"]}'); INSERT INTO x.t VALUES (2, 'open'), (3, 'open')},
  rows => "SELECT (SELECT string_agg(id || fate, ' ' ORDER BY id) FROM w.t_fates), (SELECT string_agg(id || fate, ' ' ORDER BY id) FROM x.t_fates)",
  left => '1won 2won 3lost|2lost 3lost';

# --- Traps for a superuser --------------------------------------------------

$group = 'Traps for a superuser';

# The owner's functions note who runs them; a function that a superuser ran
# would have been his.
my $trap = q{
	CREATE TABLE caught (who name); GRANT ALL ON caught TO PUBLIC;
	CREATE FUNCTION note_it() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN INSERT INTO w.caught VALUES (current_user); END IF; END $$;
	CREATE FUNCTION trap_int(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM w.note_it(); RETURN $1; END';
	CREATE FUNCTION trap_text(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM w.note_it(); RETURN true; END';
	CREATE FUNCTION trap_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM w.note_it(); RETURN new; END';
};
my @calls = (
	[ 'govern', q{SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}')}, q{SELECT ungovern('t');} ],
	[ 'verify_fates', q{SELECT verify_fates('t')}, '' ],
	[ 'backfill_fates', q{SELECT backfill_fates('t')}, q{SELECT ungovern('t'); DELETE FROM t_fates; INSERT INTO t VALUES (8, 'won'); SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');} ],
	[ 'extend_lifecycle', q{SELECT extend_lifecycle('t', '{"open": ["void"]}')}, '' ],
	[ 'ungovern', q{SELECT ungovern('t'); SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}')}, '' ]);
my $caught = q{SELECT (SELECT count(*) FROM caught), (SELECT count(*) FROM t FULL JOIN t_fates f ON t.id = f.id WHERE t.state IN ('won', 'lost') AND f.fate IS DISTINCT FROM t.state::text)};
for my $call (@calls)
{
	my ($name, $sql) = @$call;

	harmless "a superuser calls `$name`: functions in defaults, checks, indexes and triggers of table and ledger", [$root], 'they run as the owner',
	  $sql, before => qq{$trap
		ALTER TABLE t ADD x int DEFAULT trap_int(1), ADD CHECK (trap_text(state));
		ALTER TABLE t_fates ADD x int DEFAULT trap_int(1), ADD CHECK (trap_text(fate));
		CREATE INDEX ON t (trap_int(id)); CREATE INDEX ON t_fates (trap_int(id));
		CREATE TRIGGER trap BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION trap_trigger();
		CREATE TRIGGER trap_after AFTER INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION trap_trigger();
		ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (trap_text(state));
		INSERT INTO t VALUES (7, 'lost');
		} . ($name eq 'govern' ? q{SELECT ungovern('t'); INSERT INTO t VALUES (8, 'won')} : ''),
	  rows => $caught, left => '0|0';
}
refused 'a superuser calls `govern`: a deferred trigger on the ledger', [$root], '42501', q{SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}')},
  before => qq{$trap CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON t_fates DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap_trigger(); SELECT ungovern('t'); INSERT INTO t VALUES (8, 'won')},
  rows => 'SELECT count(*) FROM caught', left => '0', no_verify => 1;
harmless 'a superuser calls `verify_fates`: casts of the owner on the enum', [$root], 'no cast is used', q{SELECT verify_fates('t')},
  fixture => $enum, before => qq{$trap CREATE FUNCTION trap_cast(stage) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM w.note_it(); RETURN ''won''; END'; CREATE CAST (stage AS text) WITH FUNCTION trap_cast(stage) AS ASSIGNMENT},
  rows => 'SELECT count(*) FROM caught', left => '0';

# --- Behind the DDL guard ---------------------------------------------------

$group = 'Behind the DDL guard';

my $plain_index = q{
	CREATE TABLE t (id int NOT NULL, state text, note text); CREATE UNIQUE INDEX t_id ON t (id);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft'); UPDATE t SET state = 'won' WHERE id = 1;
};
my $valid = q{SELECT count(*) FROM pg_index WHERE indrelid IN ('t'::regclass, 't_fates'::regclass) AND indisunique AND indisvalid};
refused '`DROP INDEX CONCURRENTLY` of the key\'s only index, which commits midway', \@owner, 'PF006', 'DROP INDEX CONCURRENTLY t_id',
  fixture => $plain_index, rows => $valid, left => 2;
harmless 'the same where there is another', \@owner, 'one is left', 'DROP INDEX CONCURRENTLY t_id',
  fixture => $plain_index, before => 'CREATE UNIQUE INDEX t_id_2 ON t (id)', rows => $valid, left => 2;
refused 'the same of the ledger\'s', \@owner, 'PF006', 'DROP INDEX CONCURRENTLY fates_id',
  before => 'CREATE UNIQUE INDEX fates_id ON t_fates (id); ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey', rows => $valid, left => 2;
refused '`DROP EXTENSION ... CASCADE` of one that the ledger\'s key depends on, and other tables too', [$root], 'PF006',
  "CREATE EXTENSION citext SCHEMA w; CREATE TABLE bait (x citext); CREATE TABLE bait_2 (x citext PRIMARY KEY); ALTER INDEX t_fates_pkey DEPENDS ON EXTENSION citext; ALTER INDEX bait_2_pkey DEPENDS ON EXTENSION citext;\nDROP EXTENSION citext CASCADE",
  after => 'DROP EXTENSION citext CASCADE', problems => '';
my $included = q{CREATE TABLE y (a int); ALTER TABLE t_fates ADD extra y; ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey, ADD CONSTRAINT t_fates_pkey PRIMARY KEY (id) INCLUDE (extra)};
refused '`DROP TABLE ... CASCADE` of one whose type the ledger\'s key includes', \@owner, 'PF006', 'DROP TABLE y CASCADE', before => $included;
refused 'a temporary type that the ledger\'s key includes, and the end of the session', ['ann'], '55000',
  "CREATE TEMP TABLE z (a int); ALTER TABLE t_fates ADD extra pg_temp.z; ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey, ADD PRIMARY KEY (id) INCLUDE (extra); DISCARD TEMP;\nUPDATE t SET state = 'won' WHERE id = 2",
  problems => 'ledger "t_fates" has no primary key on "id"';
refused 'DDL within the DDL, by the default of a new column', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD x int DEFAULT f()',
  before => q{CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS inner_ddl (x int); RETURN 1; END'};
refused 'DDL that fails within the DDL', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT t_pkey, ADD x int DEFAULT f()',
  before => q{CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN BEGIN CREATE TABLE t (x int); EXCEPTION WHEN OTHERS THEN END; RETURN 1; END'};
# names that mean something else by the time that the command ends
my $other_names = q{CREATE TABLE x.t (id int PRIMARY KEY, state text, note text);
	CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.set_config('search_path', 'x', false); RETURN 'open'; END $$;
	CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql AS $$ BEGIN IF pg_catalog.to_regnamespace('w') IS NOT NULL THEN ALTER SCHEMA w RENAME TO w2; END IF; RETURN 'open'; END $$};
refused '`ALTER COLUMN TYPE ... USING` a function that changes the `search_path`', \@owner, 'PF006', 'ALTER TABLE t ALTER state TYPE text USING f()', before => $other_names;
refused '`DROP COLUMN, ADD COLUMN ... DEFAULT` such a function', \@owner, 'PF006', 'ALTER TABLE t DROP state, ADD state text DEFAULT f()', before => $other_names;
refused '`ALTER COLUMN TYPE ... USING` a function that renames the schema', \@owner, 'PF006', 'ALTER TABLE t ALTER state TYPE text USING g()', before => $other_names;
refused '`DROP COLUMN, ADD COLUMN ... DEFAULT` such a function', \@owner, 'PF006', 'ALTER TABLE t DROP state, ADD state text DEFAULT g()', before => $other_names;
refused 'a foreign table as a child', [$root], 'PF006', 'CREATE FOREIGN TABLE w.child () INHERITS (t) SERVER away',
  before_super => 'CREATE EXTENSION IF NOT EXISTS postgres_fdw; CREATE SERVER IF NOT EXISTS away FOREIGN DATA WRAPPER postgres_fdw';
refused 'a foreign table as a child of the ledger', [$root], 'PF006', 'CREATE FOREIGN TABLE w.child () INHERITS (t_fates) SERVER away',
  before_super => 'CREATE EXTENSION IF NOT EXISTS postgres_fdw; CREATE SERVER IF NOT EXISTS away FOREIGN DATA WRAPPER postgres_fdw';
refused 'a rule on the ledger for `UPDATE`', \@owner, 'PF006', 'CREATE RULE r AS ON UPDATE TO t_fates DO ALSO SELECT 1';
refused '`ALTER COLUMN` of the ledger `DROP NOT NULL`', \@owner, 'PF006', 'ALTER TABLE t_fates ALTER fate DROP NOT NULL';
refused 'key of an enum: labels renamed in a circle', \@owner, 'PF006',
  "BEGIN;\nALTER TYPE letter RENAME VALUE 'a' TO 'x'",
  fixture => q{CREATE TYPE letter AS ENUM ('a', 'b', 'c'); CREATE TABLE t (id letter PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES ('a', 'open'), ('b', 'open'); UPDATE t SET state = 'won' WHERE id = 'a'},
  left => 'a won/won, b open/-';
refused 'key of a composite type: `DROP ATTRIBUTE`', \@owner, 'PF006', 'ALTER TYPE pair DROP ATTRIBUTE b',
  fixture => q{CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id pair PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES ('(1,1)', 'open'), ('(1,2)', 'open'); UPDATE t SET state = 'won' WHERE (id).b = 1},
  left => '(1,1) won/won, (1,2) open/-';
refused 'key of a table\'s row type: a column of it dropped', \@owner, 'PF006', 'ALTER TABLE pair DROP b',
  fixture => q{CREATE TABLE pair (a int, b varchar); CREATE TYPE around AS (p pair); CREATE TABLE t (id around PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES ('("(1,1)")', 'open'), ('("(1,2)")', 'open'); UPDATE t SET state = 'won' WHERE ((id).p).b = '1'},
  left => '("(1,1)") won/won, ("(1,2)") open/-';
refused 'key of a table\'s row type: a label of an enum in it', \@owner, 'PF006', q{ALTER TYPE letter RENAME VALUE 'a' TO 'x'},
  fixture => q{CREATE TYPE letter AS ENUM ('a', 'b'); CREATE TABLE pair (a int, b letter); CREATE TABLE t (id pair PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES ('(1,a)', 'open'), ('(1,b)', 'open'); UPDATE t SET state = 'won' WHERE (id).b = 'a'},
  left => '(1,a) won/won, (1,b) open/-';
refused 'key of a view\'s row type: the view replaced by one with another column', \@owner, 'PF006', 'CREATE OR REPLACE VIEW pair AS SELECT 1 AS a, 2 AS b, 3 AS c',
  fixture => q{CREATE VIEW pair AS SELECT 1 AS a, 2 AS b; CREATE TABLE t (id pair PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES ('(1,1)', 'open'), ('(1,2)', 'open'); UPDATE t SET state = 'won' WHERE (id).b = 1},
  left => '(1,1) won/won, (1,2) open/-';
refused 'a `BEFORE` trigger on the ledger that forges a row and drops itself', ['ann'], '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TRIGGER once ON t_fates; new.fate = 'lost'; RETURN new; EXCEPTION WHEN OTHERS THEN new.fate = 'lost'; RETURN new; END $$;
	CREATE TRIGGER once BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION forge()};
refused 'a `BEFORE` trigger on the ledger that suppresses a row', ['ann'], '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
  before => q{CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
	CREATE TRIGGER once BEFORE INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION suppress()};
my $assigning = q{CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE w.t SET state = 'won' WHERE id = 2; RETURN 1; END $$};
refused 'a fate given by the default of a new column of the ledger, which the rewrite would lose', \@owner, '55006', 'ALTER TABLE t_fates ADD x int DEFAULT f()', before => $assigning;
refused 'the same by one of the table', \@owner, '55006', 'ALTER TABLE t ADD x int DEFAULT f()', before => $assigning;
refused 'the same by `ALTER COLUMN TYPE ... USING` of another column', \@owner, '55006', 'ALTER TABLE t ALTER note TYPE int USING f()', before => $assigning;
harmless 'a fate after an `ALTER TABLE` that failed, in the same transaction', \@owner, 'it is assigned',
  "BEGIN; DO \$\$ BEGIN ALTER TABLE t ADD x int DEFAULT 1/0; EXCEPTION WHEN division_by_zero THEN END \$\$; UPDATE t SET state = 'won' WHERE id = 2; COMMIT",
  left => '1 won/won, 2 won/won, 3 draft/-';
refused 'a guard on another table that names this table\'s ledger', \@owner, 'PF006',
  q{CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}')},
  before => 'CREATE TABLE u (id int PRIMARY KEY, state text)';
refused 'the same by `CREATE OR REPLACE TRIGGER`', \@owner, 'PF006',
  q{CREATE OR REPLACE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}')},
  before => 'CREATE TABLE u (id int PRIMARY KEY, state text)';
refused 'a guard of another role\'s table that names this table\'s ledger', ['sam'], '42501',
  q{CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}')},
  before_super => 'CREATE TABLE w.u (id int PRIMARY KEY, state text); ALTER TABLE w.u OWNER TO sam';
refused 'an identity column for the key of the ledger', \@owner, 'PF006', 'ALTER TABLE t_fates ALTER id ADD GENERATED ALWAYS AS IDENTITY';
my $two_names = q{CREATE TABLE t (id int PRIMARY KEY, state text, note text) PARTITION BY RANGE (id);
	CREATE TABLE w.part PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE x.part PARTITION OF t FOR VALUES FROM (10) TO (20);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft'); UPDATE t SET state = 'won' WHERE id = 1};
refused 'a second of two partitions of one name, whose guard alone is in order', ['ann'], 'PF006', 'ALTER TABLE x.part DISABLE TRIGGER petition_cas_guard',
  fixture => $two_names, before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.part DISABLE TRIGGER petition_cas_guard',
  problems => 'trigger "petition_cas_guard" of relation "part" is disabled';
for my $held (
	[ 'the ledger', 'w.t_fates', 'ALTER TABLE t DROP CONSTRAINT t_pkey' ],
	[ 'the table', 'w.t', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey' ],
	[ 'the table', 'w.t', 'ALTER TABLE t_fates DISABLE TRIGGER petition_cas_ledger' ])
{
	my ($what, $relation, $ddl) = @$held;
	refused "`$ddl` while somebody holds a lock on $what", ['ann'], 'PF006', $ddl,
	  before_super => "BEGIN; LOCK TABLE $relation; PREPARE TRANSACTION 'held'", after => q{ROLLBACK PREPARED 'held'};
}
# an index of its own calls a function while the old table is copied; it keeps
# quiet while it is made
my $clustering = q{
	CREATE FUNCTION assign() RETURNS void LANGUAGE sql AS $$ UPDATE w.t SET state = 'won' WHERE id = 2 $$;
	CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
		IF current_setting('my.go', true) = 'on' THEN PERFORM set_config('my.go', 'off', false); PERFORM w.assign(); END IF; RETURN $1; END $$;
	INSERT INTO t SELECT i, 'lost' FROM generate_series(10, 20) i};
my $cluster = "SET enable_indexscan = off; SET my.go = 'on';\n";
my $eleven = join ', ', map { "$_ lost/lost" } 10 .. 20;
refused 'a fate given by an index of the ledger, in `CLUSTER` of it', ['ann'], '55006', "${cluster}CLUSTER t_fates USING f_index",
  before => "$clustering; CREATE INDEX f_index ON t_fates (f(id))", left => "$fixture_left, $eleven";
refused 'the same by one of the table', ['ann'], '55006', "${cluster}CLUSTER t USING f_index",
  before => "$clustering; CREATE INDEX f_index ON t (f(id))", left => "$fixture_left, $eleven";
refused '`CREATE SCHEMA` with a child of the table in it', \@owner, 'PF006', 'CREATE SCHEMA s CREATE TABLE child () INHERITS (w.t)';
refused 'the same of the ledger', \@owner, 'PF006', 'CREATE SCHEMA s CREATE TABLE child () INHERITS (w.t_fates)';
refused 'a partition without its guard, which a superuser let be, and a `BEFORE` trigger that gives another row its fate: a swap', ['ann'], '55000',
  q{SELECT try_compare_and_swap(null::t, '2', 'open', 'won')}, fixture => $partitioned,
  before => q{INSERT INTO t VALUES (12, 'open'); CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE w.t SET state = 'won' WHERE id = 12; RETURN new; END $$;
	CREATE TRIGGER other BEFORE UPDATE ON t_low FOR EACH ROW EXECUTE FUNCTION other()},
  before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.t_low DISABLE TRIGGER petition_cas_guard',
  left => '1 won/won, 2 open/-, 3 draft/-, 12 open/-', problems => 'trigger "petition_cas_guard" of relation "t_low" is disabled';
# whatever got through: the table is given no fate
for my $unsound (
	[ 'without the primary key', 'ALTER TABLE w.t DROP CONSTRAINT t_pkey', 'key column "id" has no unique index of its own' ],
	[ 'with a key that may be null', 'ALTER TABLE w.t DROP CONSTRAINT t_pkey; ALTER TABLE w.t ALTER id DROP NOT NULL; CREATE UNIQUE INDEX ON w.t (id)', 'key column "id" may be null' ],
	[ 'with an unlogged ledger', 'ALTER TABLE w.t_fates SET UNLOGGED', 'ledger "t_fates" is not logged: a crash would empty it' ],
	[ 'with a ledger without its primary key', 'ALTER TABLE w.t_fates DROP CONSTRAINT t_fates_pkey', 'ledger "t_fates" has no primary key on "id"' ],
	[ 'with a ledger whose fate may be null', 'ALTER TABLE w.t_fates ALTER fate DROP NOT NULL', 'ledger "t_fates" has a column "fate" that may be null' ],
	[ 'with a ledger whose trigger is disabled', 'ALTER TABLE w.t_fates DISABLE TRIGGER petition_cas_ledger', 'trigger "petition_cas_ledger" of relation "t_fates" is disabled' ],
	[ 'with an inheritance child', 'CREATE TABLE w.child () INHERITS (w.t)', 'it is an inheritance parent or child' ])
{
	my ($what, $ddl, $problem) = @$unsound;
	refused "a table $what, which a superuser let be: give a row its fate", \@all, '55000', q{UPDATE t SET state = 'won' WHERE id = 2},
	  before_super => "SET petition_cas.allow_unguard = on; $ddl", problems => $problem;
	refused "a table $what: insert a row with its fate", \@all, '55000', q{INSERT INTO t VALUES (1, 'lost')},
	  before_super => "SET petition_cas.allow_unguard = on; $ddl", problems => $problem
	  if $what =~ /primary key$/ && $what !~ /ledger/;
}
refused 'a guard that a superuser disabled: give a row its fate by compare_and_swap', \@all, '55000', q{SELECT compare_and_swap(null::t, '2', 'open', 'won')},
  before_super => 'SET petition_cas.allow_unguard = on; ALTER TABLE w.t DISABLE TRIGGER petition_cas_guard',
  problems => 'trigger "petition_cas_guard" of relation "t" is disabled';

# --- The code of strangers --------------------------------------------------

$group = 'The code of strangers';

my $domain_key = q{
	CREATE DOMAIN code AS text;
	CREATE TABLE t (id code PRIMARY KEY, state text, note text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t TO wes;
	INSERT INTO t VALUES ('1', 'open'), ('2', 'open'), ('3', 'draft');
	UPDATE t SET state = 'won' WHERE id = '1';
};
my $hostile_operators = q{
	CREATE TABLE w.ran (who name); GRANT ALL ON w.ran TO PUBLIC;
	SET SESSION AUTHORIZATION sam;
	CREATE FUNCTION w.always(w.code, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO w.ran VALUES (current_user); RETURN true; END';
	CREATE FUNCTION w.always(w.code, w.code) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO w.ran VALUES (current_user); RETURN true; END';
	CREATE OPERATOR w.= (LEFTARG = w.code, RIGHTARG = text, FUNCTION = w.always);
	CREATE OPERATOR w.= (LEFTARG = w.code, RIGHTARG = w.code, FUNCTION = w.always);
	RESET SESSION AUTHORIZATION;
};
harmless 'operators of a stranger for the domain of a key: compare_and_swap', \@all, 'they are not used',
  q{SELECT compare_and_swap(null::t, '2', 'open', 'lost')}, fixture => $domain_key, before_super => $hostile_operators,
  rows => "$rows UNION ALL SELECT who FROM ran", left => '1 won/won, 2 lost/lost, 3 draft/-';
harmless '... each outcome of try_compare_and_swap, verify_fates, backfill_fates', \@owner, 'they are not used',
  q{SELECT try_compare_and_swap(null::t, '1', 'open', 'lost'), try_compare_and_swap(null::t, '3', 'open', 'lost'), try_compare_and_swap(null::t, '9', 'open', 'lost'), verify_fates('t'), backfill_fates('t')},
  fixture => $domain_key, before_super => $hostile_operators, rows => "$rows UNION ALL SELECT who FROM ran";
harmless '... a direct `UPDATE`', \@all, 'they are not used where the ledger is written',
  q{UPDATE t SET state = 'lost' WHERE id::text = '2'}, fixture => $domain_key, before_super => $hostile_operators,
  rows => "$rows UNION ALL SELECT who FROM ran", left => '1 won/won, 2 lost/lost, 3 draft/-';
harmless 'a guard of a stranger that names a ledger that is to be', ['ann'], 'it does not count',
  q{SELECT govern('u', '{"open": ["won"]}'); INSERT INTO u VALUES (1, 'won'); DROP TABLE u, u_fates},
  before => 'CREATE TABLE u (id int PRIMARY KEY, state text)',
  before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam; SET SESSION AUTHORIZATION sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'u_fates', '{"open": ["lost"]}')};
harmless 'tables of a stranger with nonsense for a guard, locked: DDL of others', ['ann'], 'nobody waits or is refused',
  q{SET lock_timeout = '3s'; ALTER TYPE mood ADD VALUE 'sad'; CREATE TABLE v (id int PRIMARY KEY, x int); CREATE INDEX v_x ON v (x); DROP INDEX v_x; DROP TABLE v; ALTER TABLE t ADD y int; ALTER TABLE t DROP y},
  before => q{CREATE TYPE mood AS ENUM ('glad')},
  before_super => q{CREATE TABLE bait (id w.mood, state w.mood); ALTER TABLE bait OWNER TO sam; SET SESSION AUTHORIZATION sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'nowhere', '{"open": ["lost"]}');
	RESET SESSION AUTHORIZATION; BEGIN; LOCK TABLE w.bait; PREPARE TRANSACTION 'held'},
  after => q{ROLLBACK PREPARED 'held'};
harmless 'a table of a stranger with nonsense for a guard: `DROP ... CASCADE` of what it depends on', ['ann'], 'nobody is refused',
  q{DROP FUNCTION f() CASCADE; DROP DOMAIN d CASCADE; DROP TYPE mood CASCADE},
  before => q{CREATE TYPE mood AS ENUM ('glad'); CREATE DOMAIN d AS int; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'},
  before_super => q{CREATE TABLE bait (id w.d DEFAULT w.f(), state w.mood); ALTER TABLE bait OWNER TO sam; SET SESSION AUTHORIZATION sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'nowhere', '{"open": ["lost"]}')};
harmless 'a guard of a stranger that names a table that is to be dropped', \@owner, 'it does not count', 'DROP TABLE u_fates',
  before => 'SELECT 1', before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam; SET SESSION AUTHORIZATION sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'u_fates', '{"open": ["lost"]}');
	RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION ann; CREATE TABLE w.u_fates (LIKE w.t_fates INCLUDING ALL);
	CREATE TRIGGER petition_cas_ledger BEFORE UPDATE OR DELETE ON w.u_fates FOR EACH ROW EXECUTE FUNCTION guard_ledger()};
refused 'a ledger with a trigger of its own goes to the new owner of its table', [$root], 'PF006', 'ALTER TABLE t OWNER TO wes',
  before => q{CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER mine AFTER INSERT ON t_fates FOR EACH ROW EXECUTE FUNCTION mine()};
refused 'the same with a default', [$root], 'PF006', 'ALTER TABLE t OWNER TO wes', before => 'ALTER TABLE t_fates ADD e text DEFAULT current_user';
refused 'the same with a check', [$root], 'PF006', 'ALTER TABLE t OWNER TO wes', before => q{ALTER TABLE t_fates ADD CHECK (current_user <> '')};
refused 'the same with an index on an expression', [$root], 'PF006', 'ALTER TABLE t OWNER TO wes', before => q{CREATE INDEX ON t_fates (lower(fate))};
harmless 'a ledger as govern made it', [$root], 'it goes along', 'ALTER TABLE t OWNER TO wes';
harmless 'a guard of a stranger that names a view, and his table goes to another role', [$root], 'the view stays his', 'ALTER TABLE bait OWNER TO ann',
  before_super => q{CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam; SET SESSION AUTHORIZATION sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 'peep', '{"open": ["won"]}');
	CREATE VIEW w.peep AS SELECT * FROM w.t},
  rows => "$rows UNION ALL SELECT relowner::regrole::text FROM pg_class WHERE relname = 'peep'", left => "$fixture_left\nsam";
harmless 'a guard of a stranger, made before there is that ledger: the owner of the table changes', [$root], 'it does not count', 'ALTER TABLE t OWNER TO wes',
  before_super => q{SET petition_cas.allow_unguard = on; CREATE TABLE bait (id int PRIMARY KEY, state text); ALTER TABLE bait OWNER TO sam;
	CREATE TRIGGER petition_cas_guard AFTER INSERT OR UPDATE OR DELETE ON w.bait FOR EACH ROW EXECUTE FUNCTION guard_fate('id', 'state', 't_fates', '{"open": ["won"]}')};
refused 'govern of a table of another role, which he has locked', ['ann'], '42501', q{SELECT govern('bait', '{"open": ["won"]}')},
  before_super => q{CREATE TABLE w.bait (id int PRIMARY KEY, state text); ALTER TABLE w.bait OWNER TO sam; BEGIN; LOCK TABLE w.bait; PREPARE TRANSACTION 'held'},
  after => q{ROLLBACK PREPARED 'held'};
refused 'verify_fates of such a table', ['ann'], '42501', q{SELECT verify_fates('bait')},
  before_super => q{CREATE TABLE w.bait (id int PRIMARY KEY, state text); ALTER TABLE w.bait OWNER TO sam; SET SESSION AUTHORIZATION sam; SELECT govern('w.bait', '{"open": ["won"]}'); RESET SESSION AUTHORIZATION; BEGIN; LOCK TABLE w.bait; PREPARE TRANSACTION 'held'},
  after => q{ROLLBACK PREPARED 'held'};

# --- What newer versions have -----------------------------------------------

# Tried where there is such a thing. docs/ways-around.md has a part for each
# version, which is written and compared on that version and those after it; what
# is tried on all is of PostgreSQL 15.

my $generated_key = q{
	CREATE TABLE t (base int, id int GENERATED ALWAYS AS (base) STORED PRIMARY KEY, state text);
	SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
	GRANT ALL ON t TO wes;
	INSERT INTO t (base, state) VALUES (1, 'open'), (2, 'open'), (3, 'draft');
	UPDATE t SET state = 'won' WHERE id = 1;
};
if ($node->pg_version >= 16)
{
	$group = 'From PostgreSQL 16 on';
	refused 'a generated key: another value for what it is made of', \@all, 'PF006', 'UPDATE t SET base = 11 WHERE id = 1', fixture => $generated_key;
	refused 'a generated key: another function of that name', \@all, 'PF006', q{UPDATE t SET base = base, state = 'lost' WHERE base = 1},
	  fixture => $generated_key =~ s/AS \(base\)/AS (key_of(base))/r =~ s/^/CREATE FUNCTION key_of(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT \$1';/r,
	  before => q{CREATE OR REPLACE FUNCTION key_of(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 10'};
	refused '`COPY ... DEFAULT` of a fate for a key that the ledger gives another', \@all, 'PF002', "COPY t FROM stdin WITH (DEFAULT '\\D');\n9\t\\D\t\\N\n\\.",
	  before => q{INSERT INTO t_fates VALUES (9, null, 'won', now(), 'ann', '3'); ALTER TABLE t ALTER state SET DEFAULT 'lost'},
	  left => "$fixture_left, 9 -/won", problems => '9: the ledger holds the fate "won", but the row is gone';
}

if ($node->pg_version >= 17)
{
	$group = 'From PostgreSQL 17 on';
	refused '`ALTER COLUMN` id `SET EXPRESSION`', \@owner, 'PF006', 'ALTER TABLE t ALTER id SET EXPRESSION AS (base + 100)', fixture => $generated_key;
	harmless '`ALTER COLUMN` id `DROP EXPRESSION`', \@owner, 'the values stay, and are kept', 'ALTER TABLE t ALTER id DROP EXPRESSION', fixture => $generated_key;
	refused 'the same, and a change of the key', \@owner, 'PF006', "ALTER TABLE t ALTER id DROP EXPRESSION;\nUPDATE t SET id = 11 WHERE id = 1", fixture => $generated_key;

	my $none = 'USING (VALUES (2)) v (id) ON t.id = v.id WHEN NOT MATCHED BY SOURCE AND id = 1 THEN';
	refused '`MERGE ... WHEN NOT MATCHED BY SOURCE` that updates', \@all, 'PF002', "MERGE INTO t $none UPDATE SET state = 'lost'";
	refused '`MERGE ... WHEN NOT MATCHED BY SOURCE` that deletes', \@all, 'PF006', "MERGE INTO t $none DELETE";
	refused '`MERGE ... RETURNING` in a CTE', \@all, 'PF002',
	  q{WITH m AS (MERGE INTO t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET state = 'lost' RETURNING merge_action(), t.id) SELECT * FROM m};
	refused 'two `MERGE`s in one statement that give one row two fates', \@all, '21000',
	  q{WITH m AS (MERGE INTO t USING (VALUES (2)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET state = 'won' RETURNING t.id) MERGE INTO t USING m ON t.id = m.id WHEN MATCHED THEN UPDATE SET state = 'lost'};
	my $views = q{CREATE VIEW v AS SELECT * FROM t; GRANT ALL ON v TO wes; CREATE VIEW instead AS SELECT * FROM t; GRANT ALL ON instead TO wes;
		CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE t SET state = new.state WHERE id = new.id; RETURN new; END';
		CREATE TRIGGER instead INSTEAD OF UPDATE ON instead FOR EACH ROW EXECUTE FUNCTION instead()};
	refused '`MERGE` into a view', \@all, 'PF002', q{MERGE INTO v USING (VALUES (1)) s (id) ON v.id = s.id WHEN MATCHED THEN UPDATE SET state = 'lost'}, before => $views;
	refused '`MERGE` into a view that deletes', \@all, 'PF006', q{MERGE INTO v USING (VALUES (2)) s (id) ON v.id = s.id WHEN NOT MATCHED BY SOURCE AND v.id = 1 THEN DELETE}, before => $views;
	refused '`MERGE` into a view with an `INSTEAD OF` trigger', \@all, 'PF002', q{MERGE INTO instead v USING (VALUES (1)) s (id) ON v.id = s.id WHEN MATCHED THEN UPDATE SET state = 'lost'}, before => $views;
	refused '`MERGE` that moves a fated row to another partition', \@all, 'PF006', 'MERGE INTO t USING (VALUES (1)) v (id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET id = 11', fixture => $partitioned;
	refused '`MERGE ... WHEN NOT MATCHED BY SOURCE` on the ledger, that deletes', \@owner, 'PF006', 'MERGE INTO t_fates f USING (VALUES (2)) v (id) ON f.id = v.id WHEN NOT MATCHED BY SOURCE THEN DELETE';

	my $in_ledger = [ before => q{INSERT INTO t_fates VALUES (9, null, 'won', now(), 'ann', '3')}, left => "$fixture_left, 9 -/won", problems => '9: the ledger holds the fate "won", but the row is gone' ];
	refused '`COPY ... ON_ERROR ignore` of a fate for a key that the ledger gives another', \@all, 'PF002', "COPY t FROM stdin WITH (ON_ERROR ignore);\nx\tlost\t\\N\n9\tlost\t\\N\n\\.", @$in_ledger;
	refused '`COPY ... ON_ERROR ignore` of an unknown state', \@all, '22023', "COPY t FROM stdin WITH (ON_ERROR ignore);\n4\treopened\t\\N\n\\.";
	refused '`COPY ... ON_ERROR ignore` of a fated row again', \@all, '23505', "COPY t FROM stdin WITH (ON_ERROR ignore);\n1\tlost\t\\N\n\\.";
	harmless '`COPY ... ON_ERROR ignore` of an enum\'s unknown state', \@all, 'the row is left out', "COPY t FROM stdin WITH (ON_ERROR ignore);\n4\treopened\t\\N\n5\tlost\t\\N\n\\.",
	  fixture => $enum, left => "$fixture_left, 5 lost/lost";

	my $identity = $partitioned =~ s/id int PRIMARY/id int GENERATED BY DEFAULT AS IDENTITY PRIMARY/r;
	refused 'an identity column of a partitioned table, begun again', \@owner, '23505', qq{ALTER TABLE t ALTER id RESTART WITH 1;\nINSERT INTO t (state) VALUES ('lost')}, fixture => $identity;
	refused 'an identity column: a new key by `DEFAULT`', \@owner, 'PF006', qq{ALTER TABLE t ALTER id RESTART WITH 5;\nUPDATE t SET id = DEFAULT, state = 'lost' WHERE id = 2}, fixture => $identity;
	refused 'an identity column for the ledger', \@owner, 'PF006', 'ALTER TABLE t_fates ALTER id ADD GENERATED BY DEFAULT AS IDENTITY', fixture => $identity;

	my $maintain = [ before => 'GRANT MAINTAIN ON t, t_fates TO sam' ];
	harmless 'with `MAINTAIN`: `CLUSTER`, `VACUUM FULL`, `REINDEX`, a lock', ['sam'], 'rows and ledger stay what they are',
	  "CLUSTER t USING t_pkey;\nCLUSTER t_fates USING t_fates_pkey;\nVACUUM FULL t_fates;\nREINDEX TABLE CONCURRENTLY t_fates;\nREINDEX TABLE t;\nBEGIN; LOCK TABLE t, t_fates; COMMIT", @$maintain;
	for my $beyond ('DROP INDEX t_fates_pkey', 'TRUNCATE t', 'ALTER TABLE t DISABLE TRIGGER ALL', 'CREATE UNIQUE INDEX ON t_fates (fate)')
	{
		refused "with `MAINTAIN`: `$beyond`", ['sam'], '42501', $beyond, @$maintain;
	}
	harmless 'with `MAINTAIN`: verify_fates', \@owner, 'it is told as imprudent', q{SELECT verify_fates('t')}, @$maintain,
	  rows => q{SELECT problem FROM verify_fates('t') WHERE problem LIKE '%MAINTAIN%'}, left => 'imprudent: role "sam" has the right MAINTAIN on ledger "t_fates"';
	harmless '`MAINTAIN` by default privileges, before `govern`', \@owner, 'the ledger does not keep it',
	  q{SELECT ungovern('t'); DROP TABLE t_fates; ALTER DEFAULT PRIVILEGES GRANT MAINTAIN ON TABLES TO sam; SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}'); ALTER DEFAULT PRIVILEGES REVOKE MAINTAIN ON TABLES FROM sam},
	  rows => q{SELECT count(*) FROM verify_fates('t') WHERE problem LIKE '%MAINTAIN%'}, left => '0';

	refused '`event_triggers = off`', [ 'wes', 'sam', 'ann' ], '42501', 'SET event_triggers = off';
	refused '`event_triggers = off`, drop the guard, then a fate by compare_and_swap', [$root], '55000',
	  "BEGIN; SET event_triggers = off; DROP TRIGGER petition_cas_guard ON t;\nSELECT compare_and_swap(null::t, '2', 'open', 'won')";
	refused '`event_triggers = off`, drop the ledger\'s primary key, then a fate', [$root], '55000',
	  "BEGIN; SET event_triggers = off; ALTER TABLE t_fates DROP CONSTRAINT t_fates_pkey;\nUPDATE t SET state = 'won' WHERE id = 2";
	limit '`event_triggers = off`, disable the guard, change a fate', [$root], '`verify_fates` tells; the ledger still admits one fate',
	  q{SET event_triggers = off; ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET state = 'lost' WHERE id = 1},
	  left => '1 lost/won, 2 open/-, 3 draft/-',
	  problems => '1: the row has the fate "lost", but the ledger holds "won"; trigger "petition_cas_guard" of relation "t" is disabled; trigger "petition_cas_truncate" of relation "t" is disabled';
	limit '`event_triggers = off`, `SET EXPRESSION` of a generated key', [$root], '`verify_fates` tells; the ledger keeps the fates of the former keys',
	  q{SET event_triggers = off; ALTER TABLE t ALTER id SET EXPRESSION AS (base + 100)}, fixture => $generated_key,
	  left => '1 -/won, 101 won/-, 102 open/-, 103 draft/-',
	  problems => '1: the ledger holds the fate "won", but the row is gone; 101: the row has the fate "won", but the ledger has no row for it; backfill_fates adds it';
	harmless '`event_triggers = off`: verify_fates', [$root], 'it is told as imprudent', q{SELECT verify_fates('t')},
	  rows => q{SET event_triggers = off; SELECT problem FROM verify_fates('t')}, left => 'imprudent: event_triggers is off here, so that no event trigger fires';
}

if ($node->pg_version >= 18)
{
	$group = 'From PostgreSQL 18 on';
	my $unique = $fixture =~ s/id int PRIMARY KEY/id int CONSTRAINT id_there NOT NULL UNIQUE/r;
	refused '`DROP CONSTRAINT` of the key\'s `NOT NULL`', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT id_there', fixture => $unique;
	refused 'one that is `NOT VALID` in its place', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT id_there, ADD CONSTRAINT id_here NOT NULL id NOT VALID', fixture => $unique;
	harmless 'one that is `NO INHERIT` in its place', \@owner, 'there is nobody to inherit it', 'ALTER TABLE t DROP CONSTRAINT id_there, ADD CONSTRAINT id_here NOT NULL id NO INHERIT', fixture => $unique;
	harmless '`ALTER CONSTRAINT ... NO INHERIT`', \@owner, 'there is nobody to inherit it', 'ALTER TABLE t ALTER CONSTRAINT id_there NO INHERIT', fixture => $unique;
	refused '`govern` a key whose `NOT NULL` is `NOT VALID`', \@owner, '55000', q{SELECT govern('u', '{"open": ["won", "lost"]}')},
	  before => 'CREATE TABLE u (id int UNIQUE, state text); ALTER TABLE u ADD NOT NULL id NOT VALID';
	refused '`DROP CONSTRAINT` of the `NOT NULL` of a column of the ledger', \@owner, 'PF006', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_fate_not_null';
	refused '... one that is `NOT VALID` in its place', \@owner, 'PF006', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_fate_not_null, ADD NOT NULL fate NOT VALID';
	refused '... of the key of the ledger', \@owner, '42P16', 'ALTER TABLE t_fates DROP CONSTRAINT t_fates_id_not_null';
	refused 'a `NOT NULL`, `NOT VALID`, on a column of the ledger that may be null', \@owner, 'PF006', 'ALTER TABLE t_fates ADD NOT NULL from_state NOT VALID';
	my $unique_parts = q{
		CREATE TABLE t (id int CONSTRAINT id_there NOT NULL UNIQUE, state text, note text) PARTITION BY RANGE (id);
		CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (10);
		SELECT govern('t', '{"draft": ["open"], "open": ["won", "lost"]}');
		INSERT INTO t VALUES (1, 'open'), (2, 'open'), (3, 'draft'); UPDATE t SET state = 'won' WHERE id = 1;};
	refused 'partitioned: `DROP CONSTRAINT` of the `NOT NULL`', \@owner, 'PF006', 'ALTER TABLE t DROP CONSTRAINT id_there', fixture => $unique_parts;
	refused 'partitioned: the same with `ONLY`', \@owner, 'PF006', 'ALTER TABLE ONLY t DROP CONSTRAINT id_there', fixture => $unique_parts;
	refused 'partitioned: the same of a partition', \@owner, '42P16', 'ALTER TABLE t_low DROP CONSTRAINT id_there', fixture => $unique_parts;
	refused '`ATTACH` of null keys behind a `NOT NULL` that is `NOT VALID`', \@owner, '42P17', 'ALTER TABLE t ATTACH PARTITION nulls DEFAULT',
	  fixture => $unique_parts, before => q{CREATE TABLE nulls (id int, state text, note text); INSERT INTO nulls VALUES (null, 'won'), (null, 'lost'); ALTER TABLE nulls ADD NOT NULL id NOT VALID};

	my $gist = [ before_super => 'CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public' ];
	refused '`govern` a temporal key', \@owner, '55000',
	  qq{CREATE TABLE u (id int, valid daterange, state text, PRIMARY KEY (id, valid WITHOUT OVERLAPS));\nSELECT govern('u', '{"open": ["won", "lost"]}')}, @$gist;
	refused 'a temporal key in place of the primary key', \@owner, 'PF006',
	  q{ALTER TABLE t ADD valid daterange DEFAULT '(,)', DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, valid WITHOUT OVERLAPS)}, @$gist;
	refused 'the same on the ledger', \@owner, 'PF006',
	  q{ALTER TABLE t_fates ADD valid daterange DEFAULT '(,)', DROP CONSTRAINT t_fates_pkey, ADD PRIMARY KEY (id, valid WITHOUT OVERLAPS)}, @$gist;
	refused 'a foreign key that is enforced later, `ON UPDATE CASCADE` into the state', \@owner, 'PF002', q{UPDATE states SET name = 'lost' WHERE name = 'won'},
	  before => q{CREATE TABLE states (name text PRIMARY KEY); INSERT INTO states VALUES ('draft'), ('open'), ('won');
		ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (state) REFERENCES states ON UPDATE CASCADE NOT ENFORCED; ALTER TABLE t ALTER CONSTRAINT f ENFORCED};

	refused '`govern` a virtual state', \@owner, '42809', q{SELECT govern('u', '{"open": ["won", "lost"]}')},
	  before => 'CREATE TABLE u (id int PRIMARY KEY, s text, state text GENERATED ALWAYS AS (s) VIRTUAL)';
	refused '`govern` a virtual key', \@owner, '55000', q{SELECT govern('u', '{"open": ["won", "lost"]}')},
	  before => 'CREATE TABLE u (base int, id int GENERATED ALWAYS AS (base) VIRTUAL, state text)';
	refused 'a virtual state in place of the column', \@owner, 'PF006', q{ALTER TABLE t DROP state, ADD state text GENERATED ALWAYS AS ('lost') VIRTUAL};
	refused 'a virtual fate in place of the ledger\'s', \@owner, 'PF006', q{ALTER TABLE t_fates DROP fate, ADD fate text GENERATED ALWAYS AS ('lost') VIRTUAL};
	refused '`ATTACH` of a virtual state', \@owner, '42804', 'ALTER TABLE t ATTACH PARTITION other FOR VALUES FROM (20) TO (30)',
	  fixture => $partitioned, before => q{CREATE TABLE other (id int PRIMARY KEY, state text GENERATED ALWAYS AS ('lost') VIRTUAL, note text)};
	harmless 'virtual columns of table and ledger', \@owner, 'row and ledger agree, and the caller gets the column',
	  q{ALTER TABLE t ADD v text GENERATED ALWAYS AS (upper(state)) VIRTUAL; ALTER TABLE t_fates ADD v text GENERATED ALWAYS AS (upper(fate)) VIRTUAL; SELECT 1 / (v = 'LOST')::int FROM compare_and_swap(null::t, '2', 'open', 'lost')},
	  left => '1 won/won, 2 lost/lost, 3 draft/-',
	  second => { sql => q{ALTER TABLE t ADD v int GENERATED ALWAYS AS (state + 10) VIRTUAL; ALTER TABLE t_state_fates ADD v text GENERATED ALWAYS AS (upper(fate)) VIRTUAL; SELECT 1 / (v = 13)::int FROM compare_and_swap(null::t, '[7, 2]', '1', '3', state_column => 'state')} };

	refused '`UPDATE ... RETURNING old, new`', \@all, 'PF002', q{UPDATE t SET state = 'lost' WHERE id = 1 RETURNING old.state, new.state};
	refused '`DELETE ... RETURNING old`', \@all, 'PF006', 'DELETE FROM t WHERE id = 1 RETURNING old.*';
	harmless 'a CTE that hands `RETURNING new` on to a second `UPDATE`', \@all, 'the server stores the first',
	  q{WITH x AS (UPDATE t SET state = 'won' WHERE id = 2 RETURNING old.id, new.state) UPDATE t SET state = 'lost' FROM x WHERE t.id = x.id},
	  left => '1 won/won, 2 won/won, 3 draft/-';
}

# --- The table --------------------------------------------------------------

my $text = <<'END';
# Ways around

Every way around the promise that SQL offers, who tried it, and what came of it.
An SQLSTATE means that it was refused and that nothing had changed; "no harm"
that it went through and the promise was kept; a limit that it is not, or not
wholly. What limits mean is told in [guarantees.md](guarantees.md#what-is-outside).

This page is written by `test/t/010_ways_around.pl`, which tries each of them on
a fresh table and compares rows and ledger afterwards, if `WAYS_AROUND` in its
environment names the file. Each is tried on tables of two kinds, with the same
outcome: one with a key of one column and states of text, and one with a key of two
columns, states that are integers, and two lifecycles, of which the second is attacked.

The owner is the table's. A writer has all rights on its rows and may put
triggers on it; anybody is writer, owner and superuser, each for himself. A
stranger may create tables of his own in the same schema.
END

# Returns the rows of the table as the text of a page.
sub rows_of
{
	my @rows = @_;
	my $part = '';
	my $last = '';

	for my $row (@rows)
	{
		my ($in, @cells) = @$row;
		s/\|/\\|/g for @cells;
		$part .= "\n## $in\n\n| way | who | outcome |\n|---|---|---|\n" if $in ne $last;
		$part .= '| ' . join(' | ', @cells) . " |\n";
		$last = $in;
	}
	return $part;
}

# Splits a page into what is tried on all versions and a part for each newer one.
sub parts_of
{
	my ($page) = @_;
	my ($base, @parts) = split /^(?=## From PostgreSQL \d+ on$)/m, $page;

	s/\s*\z/\n/ for $base, @parts;
	return ('0', $base, map { (/(\d+)/, $_) } @parts);
}

my @on_all = grep { $_->[0] !~ /^From PostgreSQL/ } @table;
my %count;
$count{ $_->[3] =~ /limit/ ? 'limits' : $_->[3] =~ /^no harm/ ? 'harmless' : 'refused' }++ for @on_all;
$text .= rows_of(@on_all) . sprintf "\n%d ways: %d refused, %d without harm, %d limits. Others come with newer versions:\n",
  scalar(@on_all), @count{qw(refused harmless limits)};
$text .= rows_of(grep { $_->[0] =~ /^From PostgreSQL/ } @table);

my $page = "$FindBin::Bin/../../docs/ways-around.md";
my %found = parts_of($text);
my %kept = parts_of(slurp_file($page));
delete $found{0} if $node->pg_version >= 16;
if ($ENV{WAYS_AROUND})
{
	my %all = (%kept, %found);

	open my $file, '>', $ENV{WAYS_AROUND} or die "$ENV{WAYS_AROUND}: $!";
	print $file join "\n", @all{ sort { $a <=> $b } keys %all };
	close $file or die "$ENV{WAYS_AROUND}: $!";
}
is($kept{$_} // '', $found{$_}, 'docs/ways-around.md is what this test found, ' . ($_ ? "from $_ on" : 'on all versions'))
  for sort keys %found;

$node->stop;
done_testing();
