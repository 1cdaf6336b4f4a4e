# Dump and restore in each mode: rows, ledgers, guards (still ENABLE ALWAYS),
# event triggers and lifecycles are what they were, verify_fates finds nothing,
# and a second fate is refused as before.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');

$node->init;
$node->append_conf('postgresql.conf', "max_connections = 40\n");
$node->start;

my $dumps = $node->basedir;
my @governed = ('petition_submissions', '"Mixed Case"', 'cases', 'tickets');

$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN; CREATE DATABASE source');
$node->safe_psql('source', q{
	CREATE EXTENSION petition_cas;
	CREATE SCHEMA shop AUTHORIZATION clerk;
	SET search_path = shop, public;

	SELECT create_petitions();
	INSERT INTO petition_submissions (id, text, state)
	SELECT md5(n::text)::uuid, 'text ' || n, 'DELIBERATING' FROM generate_series(1, 2000) n;
	SET petition_cas.actor = 'somebody';
	SELECT count(*) FROM assign_fates((SELECT array_agg(id) FROM petition_submissions WHERE text ~ '7'), 'DELIBERATING', 'REFERRED');
	RESET petition_cas.actor;
	SELECT extend_lifecycle('petition_submissions', '{"DELIBERATING": ["DEFERRED"]}');

	CREATE TYPE "Order State" AS ENUM ('open', 'on its way', 'it''s "lost"', 'kept');
	CREATE TABLE "Mixed Case" ("Key Column" bigint PRIMARY KEY, "The State" "Order State", note text);
	INSERT INTO "Mixed Case" SELECT n, CASE WHEN n % 3 = 0 THEN 'kept' ELSE 'open' END::"Order State" FROM generate_series(1, 300) n;
	SELECT govern('"Mixed Case"', '{"open": ["on its way"], "on its way": ["it''s \"lost\"", "kept"]}', 'Key Column', 'The State');
	UPDATE "Mixed Case" SET "The State" = 'on its way' WHERE "Key Column" % 3 = 1;
	UPDATE "Mixed Case" SET "The State" = 'it''s "lost"' WHERE "Key Column" % 9 = 1;

	CREATE TABLE cases (id int PRIMARY KEY, state text NOT NULL) PARTITION BY RANGE (id);
	CREATE TABLE cases_1 PARTITION OF cases FOR VALUES FROM (1) TO (100);
	CREATE TABLE cases_2 PARTITION OF cases DEFAULT PARTITION BY HASH (id);
	CREATE TABLE cases_2_0 PARTITION OF cases_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE cases_2_1 PARTITION OF cases_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	SELECT govern('cases', '{"new": ["won", "lost"]}');
	INSERT INTO cases SELECT n, 'new' FROM generate_series(1, 300) n;
	UPDATE cases SET state = CASE WHEN id % 2 = 0 THEN 'won' ELSE 'lost' END WHERE id % 5 = 0;

	SET ROLE clerk;
	CREATE TABLE tickets (number varchar(20) UNIQUE NOT NULL, state varchar(20) DEFAULT 'open');
	SELECT govern('tickets', '{"open": ["closed"]}', key_column => 'number');
	INSERT INTO tickets SELECT 'T-' || n FROM generate_series(1, 50) n;
	UPDATE tickets SET state = 'closed' WHERE number < 'T-3';

	CREATE TABLE former (id int PRIMARY KEY, state text);
	SELECT govern('former', '{"a": ["b"]}');
	INSERT INTO former VALUES (1, 'a'), (2, 'b');
	SELECT ungovern('former')});

# All there is to know about the tables of a schema, as text: rows, triggers,
# keys and lifecycles, and the event triggers.
sub describe
{
	my ($database, $schema, %but) = @_;
	my @tables = split /\n/, $node->safe_psql($database,
		"SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = '$schema'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname");
	my @rows = $but{rows} ? ()
	  : map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $schema.$_ t;" } @tables;

	return $node->safe_psql($database, "@rows" . qq{
		SELECT '$governed[0]', lifecycle('$schema.$governed[0]');
		SELECT '$governed[1]', lifecycle('$schema.$governed[1]');
		SELECT '$governed[2]', lifecycle('$schema.$governed[2]');
		SELECT '$governed[3]', lifecycle('$schema.$governed[3]');
		SELECT replace(pg_get_triggerdef(t.oid), '$schema.', 'shop.'), tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
		WHERE relnamespace = '$schema'::regnamespace ORDER BY relname, tgname;
		SELECT relname, relowner::regrole, conname, replace(pg_get_constraintdef(t.oid), '$schema.', 'shop.')
		FROM pg_constraint t JOIN pg_class c ON c.oid = conrelid
		WHERE relnamespace = '$schema'::regnamespace ORDER BY relname, conname;
		SELECT evtname, evtevent, evtenabled, evtfoid::regproc FROM pg_event_trigger ORDER BY evtname});
}

# Runs statements and returns the SQLSTATE of each, 00000 for none.
sub errors_of
{
	my ($database, @statements) = @_;
	my ($out, $err);

	$node->psql($database, join('', map { "$_;\n\\echo :SQLSTATE\n" } @statements),
		on_error_stop => 0, stdout => \$out, stderr => \$err);
	return split /\n/, $out;
}

sub problems
{
	my ($database, $schema) = @_;
	return $node->safe_psql($database, join ' UNION ALL ', map { "SELECT '$_', v.* FROM verify_fates('$schema.$_') v" } @governed);
}

# Checks that the tables are governed as before: healthy, closed to a second
# fate and to tampering, and open for what the lifecycle allows.
sub check_governed
{
	my ($database, $schema, $mode) = @_;

	is(problems($database, $schema), '', "$mode: verify_fates finds nothing");
	is($node->safe_psql($database, qq{
			SET search_path = $schema, public;
			SELECT DISTINCT outcome FROM assign_fates((SELECT array_agg(id) FROM petition_submissions_fates), 'DELIBERATING', 'ESCALATED');
			SELECT outcome FROM try_compare_and_swap(null::"Mixed Case", '10', 'on its way', 'kept');
			SELECT outcome FROM try_compare_and_swap(null::cases, '10', 'new', 'lost');
			SELECT outcome FROM try_compare_and_swap(null::tickets, 'T-1', 'open', 'closed')}),
		join("\n", ('already_fated') x 4), "$mode: a second fate is refused");
	is_deeply([ errors_of($database, "SET search_path = $schema, public",
			q{UPDATE cases SET state = 'lost' WHERE id = 10},
			q{UPDATE "Mixed Case" SET "The State" = 'kept' WHERE "Key Column" = 10},
			q{DELETE FROM tickets WHERE number = 'T-1'},
			q{DELETE FROM cases_fates},
			q{UPDATE former_fates SET fate = 'a'},
			q{TRUNCATE "Mixed Case_fates"},
			q{TRUNCATE petition_submissions},
			q{DROP TRIGGER petition_cas_guard ON tickets},
			q{ALTER TABLE cases DISABLE TRIGGER ALL}) ],
		[ '00000', 'PF002', 'PF002', ('PF006') x 7 ], "$mode: and so is tampering");
	is($node->safe_psql($database, qq{
			SET search_path = $schema, public;
			BEGIN;
			SELECT (assign_fate(id, 'DELIBERATING', 'DEFERRED')).state FROM (SELECT id FROM petition_submissions WHERE state = 'DELIBERATING' LIMIT 1) p;
			SELECT (compare_and_swap(null::"Mixed Case", '2', 'open', 'on its way'))."The State";
			SELECT (compare_and_swap(null::cases, '11', 'new', 'lost')).state;
			SELECT count(*) FROM cases_fates WHERE id = 11 AND fate = 'lost';
			ROLLBACK}),
		"DEFERRED\non its way\nlost\n1", "$mode: what is allowed goes on");
	return;
}

my $made = 0;
our $goes_on = 0;    # does a restore go on after an error?

sub new_database
{
	my (@sql) = @_;
	my $database = 'copy_' . ++$made;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, $_) for @sql;
	return $database;
}

sub dump_to
{
	my ($name, @options) = @_;

	command_ok([ 'pg_dump', '-d', $node->connstr('source'), '-f', "$dumps/$name", @options ], "pg_dump @options");
	return;
}

# Restores a dump of any kind up to the first error, and returns whether there
# was none and what was said.
sub restore
{
	my ($database, $name, @options) = @_;
	my @command = ('pg_restore', '--exit-on-error', '-d', $node->connstr($database), @options, "$dumps/$name");
	my ($out, $err) = ('', '');

	@command = ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($database), @options, '-f', "$dumps/$name")
	  if $name =~ /\.sql$/;
	@command = grep { $_ ne '--exit-on-error' } map { s/ON_ERROR_STOP=1/ON_ERROR_STOP=0/r } @command if $goes_on;
	return (IPC::Run::run(\@command, '>', \$out, '2>', \$err), $err);
}

sub restore_ok
{
	my ($mode, @arguments) = @_;
	my ($ok, $err) = restore(@arguments);

	ok($ok, "$mode: restored without an error") or diag($err);
	return;
}

my $source = describe('source', 'shop');

check_governed('source', 'shop', 'the source');
like($source, qr/petition_cas_guard.*\|A$/m, 'the source has guards that fire always');

# Everything at once.
dump_to('plain.sql');
dump_to('inserts.sql', '--inserts');
dump_to('custom', '-Fc');
dump_to('tar', '-Ft');
dump_to('folder', '-Fd', '-j4');

for my $mode ([ 'plain.sql' ], [ 'plain.sql', '--single-transaction' ], [ 'inserts.sql' ], ['custom'], [ 'custom', '-j4' ],
	[ 'custom', '--single-transaction' ], ['tar'], ['folder'], [ 'folder', '-j4' ])
{
	my $database = new_database();

	restore_ok("@$mode", $database, @$mode);
	is(describe($database, 'shop'), $source, "@$mode: all is as it was");
	check_governed($database, 'shop', "@$mode");
}

# Under another schema: renamed after the restore, and written into the dump.
{
	my $database = new_database();

	restore_ok('schema renamed', $database, 'custom');
	$node->safe_psql($database, 'ALTER SCHEMA shop RENAME TO "My Shop"');
	is(describe($database, '"My Shop"'), $source, 'schema renamed: all is as it was');
	check_governed($database, '"My Shop"', 'schema renamed');

	my $text = slurp_file("$dumps/plain.sql");

	$database = new_database();
	append_to_file("$dumps/renamed.sql", $text =~ s/\bshop\b/mart/gr);
	restore_ok('schema replaced in the dump', $database, 'renamed.sql');
	is(describe($database, 'mart'), $source, 'schema replaced in the dump: all is as it was');
	check_governed($database, 'mart', 'schema replaced in the dump');
}

# The schema first, the data later, under the replica role: the ledger's own
# rows come back.
dump_to('schema.sql', '--schema-only');
dump_to('data.sql', '--data-only');
dump_to('data_inserts.sql', '--data-only', '--inserts');
for my $mode ([ 'schema.sql', 'data.sql' ], [ 'schema.sql', 'data_inserts.sql' ], [ 'custom', 'custom' ], [ 'folder', 'folder', '-j4' ])
{
	my ($schema, $data, @options) = @$mode;
	my $database = new_database();
	my @only = $data =~ /\.sql$/ ? ([], []) : ([ '--schema-only', @options ], [ '--data-only', @options ]);

	restore_ok("--schema-only $schema @options", $database, $schema, @{ $only[0] });
	is(describe($database, 'shop', rows => 1), describe('source', 'shop', rows => 1), "--schema-only $schema @options: the guards are there");
	is(problems($database, 'shop'), '', "--schema-only $schema @options: verify_fates finds nothing");
	is($node->safe_psql($database, q{
			SET search_path = shop, public;
			BEGIN;
			INSERT INTO cases VALUES (1, 'new');
			SELECT outcome FROM try_compare_and_swap(null::cases, '1', 'new', 'won');
			SELECT outcome FROM try_compare_and_swap(null::cases, '1', 'new', 'lost');
			ROLLBACK}),
		"assigned\nalready_fated", "--schema-only $schema @options: and work");

	{
		local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
		restore_ok("--data-only $data @options", $database, $data, @{ $only[1] });
	}
	is(describe($database, 'shop'), $source, "--data-only $data @options: all is as it was");
	check_governed($database, 'shop', "--data-only $data @options");
}

# Data without the replica role: the guard records the fates itself, and the
# ledger's own rows are refused, rather than doubled.
{
	my $database = new_database();

	restore($database, 'schema.sql');
	my ($ok, $err) = restore($database, 'data.sql');

	ok(!$ok, 'data.sql without the replica role: refused');
	like($err, qr/ERROR:  23505: duplicate key value violates unique constraint ".*_fates_pkey"/, 'data.sql without the replica role: by the ledger');
	is(problems($database, 'shop'), '', 'data.sql without the replica role: no harm is done');
}

# --disable-triggers would leave guards that do not fire always: it is refused,
# unless a superuser insists; then verify_fates tells it.
{
	my $database = new_database();

	dump_to('data_disable.sql', '--data-only', '--disable-triggers');
	restore($database, 'schema.sql');
	for my $mode ([ 'data_disable.sql' ], [ 'custom', '--data-only', '--disable-triggers' ])
	{
		my ($ok, $err) = restore($database, @$mode);

		ok(!$ok, "@$mode: refused");
		like($err, qr/ERROR:.* cannot disable the trigger that guards .*\n(?:.*\n)?HINT:  .* set session_replication_role to replica/, "@$mode: with a hint");
	}

	local $ENV{PGOPTIONS} = '-c petition_cas.allow_unguard=on';
	restore_ok('data_disable.sql, unguarded', $database, 'data_disable.sql');
	like(problems($database, 'shop'), qr/^cases\|\|trigger "petition_cas_guard" .*always/mi, 'data_disable.sql, unguarded: verify_fates tells that guards were weakened');
	$node->safe_psql($database, q{
		SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname)
		FROM pg_trigger WHERE tgname ~ '^petition_cas' AND tgparentid = 0 \gexec});
	is(describe($database, 'shop'), $source, 'data_disable.sql, unguarded: ENABLE ALWAYS mends it');
	delete $ENV{PGOPTIONS};
	check_governed($database, 'shop', 'data_disable.sql, unguarded');
}

# --clean drops the triggers before their tables: for superusers who insist.
{
	my $database = new_database();

	dump_to('clean.sql', '--clean');
	dump_to('clean_if_exists.sql', '--clean', '--if-exists');
	restore_ok('--clean --if-exists, nothing there', $database, 'clean_if_exists.sql');
	is(describe($database, 'shop'), $source, '--clean --if-exists, nothing there: all is as it was');

	for my $mode ([ 'clean.sql' ], [ 'clean_if_exists.sql' ], [ 'custom', '--clean' ], [ 'custom', '--clean', '--if-exists' ],
		[ 'folder', '--clean', '-j4' ])
	{
		{
			my ($ok, $err) = restore($database, @$mode);

			ok(!$ok, "@$mode: refused");
			like($err, qr/ERROR: .* cannot drop the trigger that guards /, "@$mode: for the first trigger");
			is(describe($database, 'shop'), $source, "@$mode: and nothing is changed");
		}
		{
			local $ENV{PGOPTIONS} = '-c petition_cas.allow_unguard=on';
			local $goes_on = 1;

			# This is not in the dump.
			$node->safe_psql($database, q{UPDATE shop.cases SET state = 'won' WHERE id = 1});

			# The server's own trouble with partitions is to be ignored.
			my ($ok, $err) = restore($database, @$mode);
			is_deeply([ grep { !/cannot drop inherited constraint/ } $err =~ /(ERROR:.*)/g ], [], "@$mode, unguarded: restored without an error of ours");
		}
		is(describe($database, 'shop'), $source, "@$mode, unguarded: all is as it was");
		check_governed($database, 'shop', "@$mode, unguarded");
	}
}

# By an ordinary role, into a database that has the extension.
{
	my $database = new_database('CREATE EXTENSION petition_cas; GRANT CREATE ON DATABASE ' . "copy_" . ($made + 1) . ' TO clerk');

	dump_to('of_schema', '-Fc', '-n', 'shop');
	{
		local $ENV{PGUSER} = 'clerk';
		restore_ok('by an ordinary role', $database, 'of_schema', '--no-owner', '-j4');
	}
	is(describe($database, 'shop') =~ s/\|clerk\|/|postgres|/gr, $source =~ s/\|clerk\|/|postgres|/gr, 'by an ordinary role: all is as it was');
	check_governed($database, 'shop', 'by an ordinary role');
}

$node->stop;
done_testing();
