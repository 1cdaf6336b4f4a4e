# Every type of a state with every kind of a key, decided by 4 clients at each isolation
# level: a row gets one fate, that of its one winner, in the table and in the ledger, and
# every loser is told an outcome.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $clients = 4;
my $rows = 6;

# A type, the state to begin with, and two fates; boolean has but one
my @states = (
	[ 'text', 'open', 'won', 'lost' ],
	[ 'varchar(10)', 'open', 'won', q{it's "L"} ],
	[ 'char(6)', 'open', 'won', 'lost' ],
	[ 'stage', 'open', 'won', 'lost' ],
	[ 'smallint', -1, 0, 7 ],
	[ 'integer', 1, 2, 3 ],
	[ 'bigint', 10_000_000_000, 2, 3 ],
	[ 'boolean', 'true', 'false', 'false' ],
	[ 'uuid', map { '0000000' . $_ . '-0000-0000-0000-000000000000' } 1 .. 3 ],
	[ 'code', 1, 2, 3 ]);

# The columns of a key, the values of row n, and how the table is partitioned. One column
# has the name of a ledger's own.
my @keys = (
	[ { id => 'uuid' }, q{lpad(n::text, 32, '0')::uuid} ],
	[ { id => 'bigint' }, 'n' ],
	[ { id => 'integer' }, '-n' ],
	[ { id => 'text' }, q{'it''s "' || n || '"'} ],
	[ { id => 'bigint', tenant => 'integer' }, 'n, n % 2' ],
	[ { fate => 'date', id => 'uuid', region => 'varchar(5)' }, q{date '2026-01-01' + n, lpad(n::text, 32, '0')::uuid, 'north'} ],
	[ { created_at => 'timestamptz', id => 'bigint' }, q{timestamptz '2026-01-01' + n * interval '1 day', n}, 'PARTITION BY RANGE (created_at)' ]);

my $node = new_server('kinds');
my @tables;

sub literal
{
	my ($text) = @_;
	return "'" . $text =~ s/'/''/gr . "'";
}

sub create_table
{
	my ($state, $key) = @_;
	my ($type, $open, @fates) = @$state;
	my ($columns, $values, $partitions) = (@$key, '');
	my $names = join ', ', sort keys %$columns;
	my $table = { name => 't_' . @tables, what => "$type by $names", open => $open, fates => \@fates };
	my %fates = map { $_ => 1 } @fates;
	my $graph = sprintf '{"%s": [%s]}', $open, join ', ', map { '"' . s/"/\\"/gr . '"' } sort keys %fates;

	push @tables, $table;
	return "CREATE TABLE $table->{name} (n int, " . join(', ', map { "$_ $columns->{$_}" } sort keys %$columns)
	  . ", state $type, PRIMARY KEY ($names)) $partitions;"
	  . ($partitions && "CREATE TABLE $table->{name}_new PARTITION OF $table->{name} DEFAULT;")
	  . "SELECT govern('$table->{name}', " . literal($graph) . ');'
	  . "INSERT INTO $table->{name} SELECT n, $values, " . literal($open) . " FROM generate_series(1, $rows) n;\n";
}

$node->safe_psql('postgres', q{
	CREATE TYPE stage AS ENUM ('open', 'won', 'lost');
	CREATE DOMAIN code AS smallint CHECK (VALUE > 0)});

for my $level ('read committed', 'repeatable read', 'serializable')
{
	my $script = $node->basedir . '/swaps.sql';
	my ($create, $swaps) = ('', '');

	@tables = ();
	foreach my $state (@states)
	{
		$create .= create_table($state, $_) foreach @keys;
	}
	foreach my $table (@tables)
	{
		$swaps .= "INSERT INTO attempts SELECT '$table->{name}', n, wanted, outcome"
		  . " FROM (SELECT n, row_key(t) AS key, (ARRAY[" . join(', ', map { literal($_) } @{ $table->{fates} }) . "])[1 + :client_id % 2] AS wanted FROM $table->{name} t WHERE n = $_) t,"
		  . " try_compare_and_swap(NULL::$table->{name}, key, " . literal($table->{open}) . ", wanted);\n"
		  foreach 1 .. $rows;
	}
	unlink $script;
	append_to_file($script, $swaps);
	$node->safe_psql('postgres', 'CREATE TABLE attempts (relation text, n int, wanted text, outcome text)');
	$node->safe_psql('postgres', $create);

	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . $level =~ s/ /\\ /r;
	command_ok([ 'pgbench', '-n', '-c', $clients, '-j', $clients, '-t', 1, '-f', $script, $node->connstr('postgres') ], "$level: no client was told of an error");
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM attempts}),
		'already_fated assigned concurrent_modification', "$level: it was a race, and losers were told so");
	foreach my $table (@tables)
	{
		is($node->safe_psql('postgres', qq{
			SELECT count(*), count(*) FILTER (WHERE attempts = $clients AND winners = 1 AND t.state::text = wanted)
			FROM $table->{name} t JOIN (SELECT n, count(*) AS attempts, count(*) FILTER (WHERE outcome = 'assigned') AS winners,
					min(wanted) FILTER (WHERE outcome = 'assigned') AS wanted
				FROM attempts WHERE relation = '$table->{name}' GROUP BY n) a USING (n);
			SELECT count(*), count(*) FILTER (WHERE from_state = } . literal($table->{open}) . qq{) FROM $table->{name}_fates;
			SELECT count(*) FROM verify_fates('$table->{name}')}),
			"$rows|$rows\n$rows|$rows\n0", "$level, $table->{what}: one winner for each row");
	}
	$node->safe_psql('postgres', join '; ', 'DROP TABLE attempts', map { "DROP TABLE $_->{name}, $_->{name}_fates" } @tables);
}

$node->stop;
done_testing();
