# Dump and restore in each mode: rows, ledgers, guards (still ENABLE ALWAYS),
# event triggers and lifecycles are what they were, verify_fates finds nothing,
# and a second fate is refused as before.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');

$node->init;
$node->append_conf('postgresql.conf', "max_connections = 40\n");
$node->start;

my $dumps = $node->basedir;

create_shop($node, 'source');

my $made = 0;
our $goes_on = 0;    # whether a restore goes on after an error

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

my $source = describe_shop($node, 'source', 'shop');

check_shop($node, 'source', 'shop', 'the source');
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
	is(describe_shop($node, $database, 'shop'), $source, "@$mode: all is as it was");
	check_shop($node, $database, 'shop', "@$mode");
}

# Under another schema: renamed after the restore, and written into the dump.
{
	my $database = new_database();

	restore_ok('schema renamed', $database, 'custom');
	$node->safe_psql($database, 'ALTER SCHEMA shop RENAME TO "My Shop"');
	is(describe_shop($node, $database, '"My Shop"'), $source, 'schema renamed: all is as it was');
	check_shop($node, $database, '"My Shop"', 'schema renamed');

	my $text = slurp_file("$dumps/plain.sql");

	$database = new_database();
	append_to_file("$dumps/renamed.sql", $text =~ s/\bshop\b/mart/gr);
	restore_ok('schema replaced in the dump', $database, 'renamed.sql');
	is(describe_shop($node, $database, 'mart'), $source, 'schema replaced in the dump: all is as it was');
	check_shop($node, $database, 'mart', 'schema replaced in the dump');
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
	is(describe_shop($node, $database, 'shop', rows => 1), describe_shop($node, 'source', 'shop', rows => 1), "--schema-only $schema @options: the guards are there");
	is(shop_problems($node, $database, 'shop'), '', "--schema-only $schema @options: verify_fates finds nothing");
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
	is(describe_shop($node, $database, 'shop'), $source, "--data-only $data @options: all is as it was");
	check_shop($node, $database, 'shop', "--data-only $data @options");
}

# Data without the replica role: the guard records the fates itself, and the
# ledger's own rows are refused, rather than doubled.
{
	my $database = new_database();

	restore($database, 'schema.sql');
	my ($ok, $err) = restore($database, 'data.sql');

	ok(!$ok, 'data.sql without the replica role: refused');
	like($err, qr/ERROR:  23505: duplicate key value violates unique constraint ".*_fates_pkey"/, 'data.sql without the replica role: by the ledger');
	is(shop_problems($node, $database, 'shop'), '', 'data.sql without the replica role: no harm is done');
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
	like(shop_problems($node, $database, 'shop'), qr/^cases\|\|trigger "petition_cas_guard" .*always/mi, 'data_disable.sql, unguarded: verify_fates tells that guards were weakened');
	$node->safe_psql($database, q{
		SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname)
		FROM pg_trigger WHERE tgname ~ '^petition_cas' AND tgparentid = 0 \gexec});
	is(describe_shop($node, $database, 'shop'), $source, 'data_disable.sql, unguarded: ENABLE ALWAYS mends it');
	delete $ENV{PGOPTIONS};
	check_shop($node, $database, 'shop', 'data_disable.sql, unguarded');
}

# --clean drops the triggers before their tables: for superusers who insist.
{
	my $database = new_database();

	dump_to('clean.sql', '--clean');
	dump_to('clean_if_exists.sql', '--clean', '--if-exists');
	restore_ok('--clean --if-exists, nothing there', $database, 'clean_if_exists.sql');
	is(describe_shop($node, $database, 'shop'), $source, '--clean --if-exists, nothing there: all is as it was');

	for my $mode ([ 'clean.sql' ], [ 'clean_if_exists.sql' ], [ 'custom', '--clean' ], [ 'custom', '--clean', '--if-exists' ],
		[ 'folder', '--clean', '-j4' ])
	{
		{
			my ($ok, $err) = restore($database, @$mode);

			ok(!$ok, "@$mode: refused");
			like($err, qr/ERROR: .* cannot drop the trigger that guards /, "@$mode: for the first trigger");
			is(describe_shop($node, $database, 'shop'), $source, "@$mode: and nothing is changed");
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
		is(describe_shop($node, $database, 'shop'), $source, "@$mode, unguarded: all is as it was");
		check_shop($node, $database, 'shop', "@$mode, unguarded");
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
	is(describe_shop($node, $database, 'shop') =~ s/\|clerk\|/|postgres|/gr, $source =~ s/\|clerk\|/|postgres|/gr, 'by an ordinary role: all is as it was');
	check_shop($node, $database, 'shop', 'by an ordinary role');
}

$node->stop;
done_testing();
