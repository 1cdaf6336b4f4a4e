# Every type of a state with every kind of a key, decided by 4 clients at each isolation
# level: a row gets one fate, that of its one winner, in the table and in the ledger, and
# every loser is told an outcome. Then the races of the isolation tests on each of them, step
# by step: a winner that commits or rolls back, a row that is deleted, that is there anew, that
# goes away and comes back, sets that overlap, and locks that somebody holds.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $clients = 4;
my $rows = 6;

# A type, the state to begin with, two fates, and a state on the way; boolean has but two
my @states = (
	[ 'text', 'open', 'won', 'lost', 'held' ],
	[ 'varchar(10)', 'open', 'won', q{it's "L"}, 'held' ],
	[ 'char(6)', 'open', 'won', 'lost', 'held' ],
	[ 'stage', 'open', 'won', 'lost', 'held' ],
	[ 'smallint', -1, 0, 7, -2 ],
	[ 'integer', 1, 2, 3, 4 ],
	[ 'bigint', 10_000_000_000, 2, 3, 10_000_000_001 ],
	[ 'boolean', 'true', 'false', 'false' ],
	[ 'uuid', map { '0000000' . $_ . '-0000-0000-0000-000000000000' } 1 .. 4 ],
	[ 'code', 1, 2, 3, 4 ]);

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

# Returns what creates a table with that many rows, and notes it in @tables.
sub create_table
{
	my ($state, $key, $count) = @_;
	my ($type, $open, $won, $lost, $held) = @$state;
	my ($columns, $values, $partitions) = (@$key, '');
	my $names = join ', ', sort keys %$columns;
	my @fates = $won eq $lost ? ($won) : ($won, $lost);
	my $table = { name => 't_' . @tables, what => "$type by $names", open => $open, held => $held, fates => [ $won, $lost ], key => [ sort keys %$columns ] };
	my $graph = '{' . json($open) . ': [' . join(', ', map { json($_) } @fates, $held // ()) . ']' . (defined $held ? ', ' . json($held) . ': [' . json($open) . ']' : '') . '}';

	push @tables, $table;
	$table->{insert} = "INSERT INTO $table->{name} SELECT n, $values, " . literal($open) . ' FROM generate_series';
	return "CREATE TABLE $table->{name} (n int, " . join(', ', map { "$_ $columns->{$_}" } sort keys %$columns)
	  . ", state $type, note text, PRIMARY KEY ($names)) $partitions;"
	  . ($partitions && "CREATE TABLE $table->{name}_new PARTITION OF $table->{name} DEFAULT;")
	  . "SELECT govern('$table->{name}', " . literal($graph) . ');'
	  . "$table->{insert}(1, $count) n;\n";
}

sub json
{
	my ($text) = @_;
	return '"' . $text =~ s/"/\\"/gr . '"';
}

$node->safe_psql('postgres', q{
	CREATE TYPE stage AS ENUM ('open', 'held', 'won', 'lost');
	CREATE DOMAIN code AS smallint CHECK (VALUE > 0)});

for my $level ('read committed', 'repeatable read', 'serializable')
{
	my $script = $node->basedir . '/swaps.sql';
	my ($create, $swaps) = ('', '');

	@tables = ();
	foreach my $state (@states)
	{
		$create .= create_table($state, $_, $rows) foreach @keys;
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

# --- The races, step by step -----------------------------------------------------------

# The other one takes the first steps, the loser begins and has to wait, and the other one
# takes the rest. A race "above" is at REPEATABLE READ or SERIALIZABLE, and the loser has its
# snapshot before all that; "second" is a second one, which waits too. What they are told is
# what they are returned, or the SQLSTATE; and what is left of the rows is noted.
my $pf001 = { swap => 'PF001', try => 'concurrent_modification', many => 'concurrent_modification' };
my @races = (
	(map { { name => "the winner commits, $_", first => 'begin win', calls => [$_], rest => 'commit', told => [ $pf001->{$_} // 'PF002' ], left => 'won', typed => $_ eq 'update' } } qw(swap try many update)),
	(map { { name => "the winner commits, $_", above => 1, first => 'begin win', calls => [$_], rest => 'commit', told => [ $pf001->{$_} // '40001' ], left => 'won' } } qw(swap try many update)),
	(map { { name => "the winner rolls back, $_", first => 'begin win', calls => [$_], rest => 'rollback', told => ['assigned'], left => 'lost' } } qw(swap many)),
	{ name => 'the winner rolls back', above => 1, first => 'begin win', calls => ['try'], rest => 'rollback', told => ['assigned'], left => 'lost' },
	{ name => 'the winner rolls back, and two have waited', first => 'begin win', calls => [ 'try', 'many' ], rest => 'rollback', told => [ 'assigned', 'concurrent_modification' ], left => 'lost' },
	(map { { name => "deleted, $_", first => 'begin delete', calls => [$_], rest => 'commit', told => [ $pf001->{$_} ], left => 'gone' } } qw(swap try many)),
	{ name => 'deleted', above => 1, first => 'begin delete', calls => ['try'], rest => 'commit', told => ['concurrent_modification'], left => 'gone' },
	{ name => 'deleted, and rolled back', above => 1, first => 'begin delete', calls => ['many'], rest => 'rollback', told => ['assigned'], left => 'lost' },
	(map { { name => "there anew, $_", first => 'begin delete insert', calls => [$_], rest => 'commit', told => ['assigned'], left => 'lost' } } qw(swap try many)),
	{ name => 'there anew', above => 1, first => 'begin delete insert', calls => ['swap'], rest => 'commit', told => ['PF001'], left => 'open' },
	{ name => 'away and back', on_the_way => 1, first => 'begin away', calls => ['swap'], rest => 'back commit', told => ['assigned'], left => 'lost' },
	{ name => 'away and back', on_the_way => 1, above => 1, first => 'begin away', calls => ['try'], rest => 'back commit', told => ['concurrent_modification'], left => 'open' },
	{ name => 'away', on_the_way => 1, first => 'begin away', calls => ['many'], rest => 'commit', told => ['concurrent_modification'], left => 'held' },
	{ name => 'another column', first => 'begin edit', calls => ['many'], rest => 'commit', told => ['assigned'], left => 'lost' },
	{ name => 'another column', above => 1, first => 'begin edit', calls => ['swap'], rest => 'commit', told => ['PF001'], left => 'open' },
	{ name => 'locked alone', above => 1, first => 'begin lock', calls => ['try'], rest => 'commit', told => ['assigned'], left => 'lost' },
	{ name => 'changed twice', first => 'park park_2', calls => ['try'], rest => 'delete insert go wait delete insert go_2', told => ['assigned'], left => 'lost' },
	{ name => 'changed twice, and away in the end', on_the_way => 1, first => 'park', calls => ['swap'], rest => 'delete insert begin delete insert away go wait commit', told => ['PF001'], left => 'held' },
	{ name => 'changed since the snapshot', above => 1, first => 'park', calls => ['many'], rest => 'delete insert go', told => ['concurrent_modification'], left => 'open' },
	{ name => 'sets that overlap', first => 'begin lock_2', calls => [ 'three', 'four' ], rest => 'commit', told => [ 'assigned assigned assigned', 'assigned concurrent_modification concurrent_modification concurrent_modification' ], left => 'won won won lost' },
	{ name => 'sets that overlap', above => 1, first => 'begin lock_2', calls => [ 'three', 'four' ], rest => 'commit', told => [ 'assigned assigned assigned', 'assigned concurrent_modification concurrent_modification concurrent_modification' ], left => 'won won won lost' },
	{ name => 'the key dropped while the ledger is locked', free => 1, first => 'begin hold_ledger', calls => ['drop_key'], rest => 'commit', told => ['PF006'], left => 'open' },
	{ name => 'the ledger\'s key dropped while the table is locked', free => 1, first => 'begin hold_table', calls => ['drop_ledger_key'], rest => 'commit', told => ['PF006'], left => 'open' });

# Four rows to a race, which serve those of sets.
my $to_a_race = 4;
my @actors = qw(other loser second);
my (%scripts, @expected);
my $of_two = 0;    # races with a second loser

# Sessions tell each other how far they are by a sequence, which no transaction hides.
$node->safe_psql('postgres', q{
	CREATE SEQUENCE progress MINVALUE 0;
	CREATE SEQUENCE done_by_second;
	CREATE TABLE sessions (name text, pid int);
	CREATE FUNCTION await(step bigint, of regclass DEFAULT 'progress') RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		WHILE coalesce(pg_sequence_last_value(of), 0) < step LOOP
			PERFORM pg_sleep(0.0005);
		END LOOP;
	END $$;
	CREATE FUNCTION wait(how_many int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		give_up timestamptz := clock_timestamp() + interval '30 seconds';
	BEGIN
		WHILE (SELECT count(DISTINCT pid) < how_many FROM pg_locks JOIN sessions USING (pid) WHERE NOT granted) LOOP
			IF clock_timestamp() > give_up THEN
				RAISE 'nobody waits';
			END IF;
			PERFORM pg_sleep(0.0005);
		END LOOP;
	END $$;
	-- the first UPDATE of who asks for it has its snapshot, and waits at the advisory lock 1
	CREATE FUNCTION park() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		place int := nullif(current_setting('test.place', true), '');
	BEGIN
		IF place IS NOT NULL THEN
			PERFORM pg_advisory_xact_lock_shared(place), set_config('test.place', (place + 1)::text, false);
		END IF;
		RETURN NULL;
	END $$});

# Writes the parts of a race on a table into the scripts.
sub write_race
{
	my ($table, $number, $race, $keys) = @_;
	my ($name, $open, $held, $won, $lost) = ($table->{name}, literal($table->{open}), literal($table->{held} // ''), map { literal($_) } @{ $table->{fates} });
	my $n = $number * $to_a_race + 1;
	my @keys = map { literal($_) } @$keys[ $n - 1 .. $n + 2 ];
	my $update = "UPDATE $name SET state";
	my $many = sub {
		my ($to, @which) = @_;
		return "SELECT outcome FROM compare_and_swap_many(NULL::$name, ARRAY[" . join(', ', @keys[@which]) . "], $open, $to)";
	};
	my %sql = (
		begin => 'BEGIN', commit => 'COMMIT', rollback => 'ROLLBACK', wait => 'SELECT wait(1)',
		win => "$update = $won WHERE n = $n", away => "$update = $held WHERE n = $n", back => "$update = $open WHERE n = $n",
		edit => "UPDATE $name SET note = 'edited' WHERE n = $n", lock => "SELECT FROM $name WHERE n = $n FOR UPDATE", lock_2 => "SELECT FROM $name WHERE n = $n + 1 FOR UPDATE",
		delete => "DELETE FROM $name WHERE n = $n", insert => "$table->{insert}($n, $n) n",
		hold_table => "LOCK TABLE $name", hold_ledger => "LOCK TABLE ${name}_fates",
		park => 'SELECT pg_advisory_lock(1)', park_2 => 'SELECT pg_advisory_lock(2)', go => 'SELECT pg_advisory_unlock(1)', go_2 => 'SELECT pg_advisory_unlock(2)',
		swap => "SELECT 'assigned' FROM compare_and_swap(NULL::$name, $keys[0], $open, $lost)",
		try => "SELECT outcome FROM try_compare_and_swap(NULL::$name, $keys[0], $open, $lost)",
		many => $many->($lost, 0), three => $many->($won, 0, 1, 2), four => $many->($lost, 3, 2, 1, 0),
		update => "$update = $lost WHERE n = $n",
		drop_key => "ALTER TABLE $name DROP CONSTRAINT ${name}_pkey", drop_ledger_key => "ALTER TABLE ${name}_fates DROP CONSTRAINT ${name}_fates_pkey");
	my $base = 4 * @expected;
	my $begin = $race->{above} ? 'BEGIN ISOLATION LEVEL ' . ($table->{name} =~ /[02468]$/ ? 'REPEATABLE READ' : 'SERIALIZABLE') . ";\nSELECT FROM $name;\n" : '';
	my $calls = @{ $race->{calls} };
	my @told = @{ $race->{told} };
	my %to = (won => $table->{fates}[0], lost => $table->{fates}[1], open => $table->{open}, held => $table->{held});
	my $parks = $race->{first} =~ /park/ ? 1 : '';
	my $call = sub { return "\\echo call\n\\o\n$sql{ $race->{calls}[ $_[0] ] };\n\\o /dev/null\n\\echo told :SQLSTATE\n" };
	my $go = sub { return "SELECT setval('progress', $base + $_[0]);\n" };
	my $steps = sub { return join '', map { "$sql{$_};\n" } split / /, $_[0] };

	# an UPDATE to the fate that stands changes nothing
	@told = ('') if $race->{typed} && $table->{fates}[0] eq $table->{fates}[1];

	$scripts{loser} .= $begin . $go->(1) . "SELECT await($base + 2);\n" . ($parks && "SET test.place = 1;\n") . $call->(0)
	  . ($begin && "COMMIT;\n") . ($parks && "RESET test.place;\n") . ($race->{free} ? $go->(3) : '') . "SELECT await($base + 4);\n";
	if ($calls > 1)
	{
		$scripts{second} .= "SELECT await($base + 3);\n" . $call->(1) . "SELECT nextval('done_by_second');\n";
		$scripts{loser} .= 'SELECT await(' . ++$of_two . ", 'done_by_second');\n";
	}
	$scripts{other} .= "SELECT await($base + 1);\n" . $steps->($race->{first}) . $go->(2)
	  . ($race->{free} ? "SELECT await($base + 3);\n" : "SELECT wait(1);\n" . $go->(3)) . ($calls > 1 ? "SELECT wait(2);\n" : '')
	  . $steps->($race->{rest}) . $go->(4);
	push @expected,
	  { what => "$table->{what}, $race->{name}" . ($race->{above} ? ', above READ COMMITTED' : ''), table => $name, first => $n, calls => $calls, told => \@told,
		left => [ map { /gone/ ? '' : "$to{$_}/" . (/open|held/ ? '' : $to{$_}) } ((split / /, $race->{left}), ('open') x $to_a_race)[ 0 .. $to_a_race - 1 ] ] };
	return;
}

# Reads what a session was told, call by call.
sub read_told
{
	my ($text) = @_;
	my (undef, @calls) = split /^call\n/m, $text;

	return map { /^(.*?)told (\w+)\n/s && $2 eq '00000' ? join ' ', split /\n/, $1 : $2 } @calls;
}

@tables = ();
my $create = '';
foreach my $state (@states)
{
	$create .= create_table($state, $_, $to_a_race * @races) foreach @keys;
}
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', join '; ', map { "CREATE TRIGGER park BEFORE UPDATE ON $_->{name} FOR EACH STATEMENT EXECUTE FUNCTION park()" } @tables);
foreach my $table (@tables)
{
	my @row_keys = split /\n/, $node->safe_psql('postgres', "SELECT row_key(t) FROM $table->{name} t ORDER BY n");

	while (my ($number, $race) = each @races)
	{
		write_race($table, $number, $race, \@row_keys) unless $race->{on_the_way} && !defined $table->{held};
	}
}

my %run;
foreach my $actor (@actors)
{
	my $base = $node->basedir . "/$actor";

	append_to_file("$base.sql", "INSERT INTO sessions SELECT '$actor', pg_backend_pid() WHERE '$actor' <> 'other';\n\\o /dev/null\n$scripts{$actor}");
	$run{$actor} = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', "$base.sql" ],
		'<', '/dev/null', '>', "$base.out", '2>', "$base.err",
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}
$_->finish foreach values %run;
is(slurp_file($node->basedir . '/other.err'), '', 'no step of the other one failed');

# What is left of the rows of each race, in their order, as state and fate.
sub read_left
{
	my ($table, $count) = @_;
	my $join = join ' AND ', map { 'f.' . ($_ eq 'fate' ? 'fate_key' : $_) . " = t.$_" } @{ $table->{key} };

	return split /\n/, $node->safe_psql('postgres', qq{
		SELECT CASE WHEN t.n IS NULL THEN '' ELSE concat(t.state::text, '/', f.fate) END
		FROM generate_series(1, $count) g LEFT JOIN $table->{name} t ON t.n = g LEFT JOIN $table->{name}_fates f ON $join ORDER BY g}), -1;
}

my @told = map { [ read_told(slurp_file($node->basedir . "/$_.out")) ] } qw(loser second);
my %left = map { ($_->{name} => [ read_left($_, $to_a_race * @races) ]) } @tables;

foreach my $race (@expected)
{
	my $got = { told => [ map { shift @{ $told[$_] } } 0 .. $race->{calls} - 1 ], left => [ @{ $left{ $race->{table} } }[ $race->{first} - 1 .. $race->{first} + $to_a_race - 2 ] ] };

	is_deeply($got, { told => $race->{told}, left => $race->{left} }, $race->{what}) or diag(explain($got));
}
is($node->safe_psql('postgres', join ' UNION ALL ', map { "SELECT '$_->{name}', v.* FROM verify_fates('$_->{name}') v" } @tables), '', 'verify_fates finds nothing');
is($node->safe_psql('postgres', q{SELECT count(*) FROM governed_tables() WHERE problems <> '{}'}), 0, 'and every table is in order');

$node->stop;
done_testing();
