# The shapes of thirteen schemas as applications have them (the folder schemas), governed
# as their authors would need it. Five clients decide every row at once, each in another
# of the ways there are; all of it is dumped, restored and decided on once more. Each row
# has one fate, that of its one winner, and every loser is told so.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Race;
use Test::More;

my $clients = 5;
my $contested = 12;    # rows of a table; the 13th is decided in the restored database
my $group = 3;         # rows that a client decides in one way, and together if it can

# What is decided: table, state column and the state that the rows are in; the fates, with
# the columns that change along with each; and what else is so.
#   cleaner   deletes rows that have their fate, while others are decided
#   by        the column by which plain SQL moves a generated state
#   also      what else an UPDATE is told that comes too late: a CHECK is there before us
my @lifecycles = (
	[ 'jobs', 'status', 'running', { succeeded => { finished_at => 'now' }, failed => { finished_at => 'now', error => 'it\'s "broken"' } },
		cleaner => 'DELETE FROM jobs WHERE finished_at IS NOT NULL' ],
	[ 'purchases', 'state', 'accepted', { completed => {}, cancelled => {} } ],
	[ 'purchases', 'payment_state', 'due', { paid => { paid_at => '2026-03-01 12:00:00+01' }, waived => {} } ],
	[ 'purchases', 'shipment_state', 'waiting', { sent => { parcel => 4711 }, returned => {} } ],
	[ 'tickets', 'state_id', 2, { 3 => {}, 4 => { assignee => 'bob' } } ],
	[ 'animals', 'is_alive', 'true', { false => { died_on => 'today' } } ],
	[ 'alarms', 'handling', 'raised', { handled => { handled_by => 'ann' }, 'false alarm' => {} } ],
	[ 'settings', 'phase', 0, { 1 => {}, 2 => {} } ],
	[ 'loans', 'state', 'in review', { granted => { interest => 3.125 }, refused => {} } ],
	[ 'posts', 'state', 'flagged', { approved => { moderator => 'ann' }, removed => { moderator => 'bob', deleted_at => 'now' } }, also => '23514' ],
	[ 'payments', 'code', 'IN', { OK => {}, NO => {} } ],
	[ 'invitations', 'state', 'sent', { accepted => { answered_at => 'now' }, declined => { answered_at => 'now' }, expired => {} } ],
	[ 'leave_requests', 'state', 'asked', { granted => { granted => 'true' }, refused => { granted => 'false' } }, by => 'granted' ],
	[ 'deployments', 'state', 1000000000001, { 2000000000000 => {}, 3000000000000 => {} } ],
	[ 'reservations', 'state', map({ "00000000-0000-4000-8000-00000000000$_" } 1), { map { ("00000000-0000-4000-8000-00000000000$_" => { quantity => $_ }) } 2, 3 },
		cleaner => 'DELETE FROM warehouses WHERE id = 1 AND NOT EXISTS (SELECT FROM reservations r WHERE warehouse = 1 AND r.state::text ~ \'1$\')' ]);

# Each table is in a file of the folder.
my $node = new_server('schemas', q{timezone = 'UTC'});
my @tables = do { my %seen; grep { !$seen{$_}++ } map { $_->[0] } @lifecycles };

sub literal
{
	my ($text) = @_;
	return "'" . $text =~ s/'/''/gr . "'";
}

is(scalar(@tables), 13, 'thirteen schemas');
is_deeply([ sort map { m{(\w+)\.sql$} } glob "$FindBin::Bin/schemas/*.sql" ], [ sort @tables ], 'each file is of one of them');
$node->safe_psql('postgres', 'DROP TABLE petition_submissions, petition_submissions_fates');
$node->safe_psql('postgres', slurp_file("$FindBin::Bin/schemas/$_.sql")) foreach @tables;

# --- The contest ---------------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE SCHEMA race;
	CREATE TABLE race.lifecycles (id int PRIMARY KEY, relation text, state_column name, expected text, moved_by text, cleaner text);
	CREATE TABLE race.fates (id int, n int, fate text, changes jsonb, PRIMARY KEY (id, n));
	CREATE TABLE race.keys (relation text, n int, key text, PRIMARY KEY (relation, n));
	CREATE TABLE race.attempts (id int, client int, way text, key text, wanted text, told text, PRIMARY KEY (id, client, key));

	-- The statement by which plain SQL moves a row, with other columns; "conditional" asks
	-- for the state that the client has seen, as those do who look at the count of rows.
	CREATE FUNCTION race.statement(l race.lifecycles, f race.fates, key text, conditional boolean) RETURNS text LANGUAGE sql AS $$
		SELECT format('UPDATE %s t SET %s WHERE row_key(t) = %L', l.relation,
				(SELECT string_agg(format('%I = %L', c.key, c.value), ', ')
				 FROM jsonb_each_text(f.changes || CASE WHEN l.moved_by IS NULL THEN jsonb_build_object(l.state_column, f.fate) ELSE '{}' END) c), key)
			|| CASE WHEN conditional THEN format(' AND %I = %L', l.state_column, l.expected) ELSE '' END
	$$;

	-- Waits until the condition holds.
	CREATE FUNCTION race.wait_until(condition text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		holds boolean := false;
	BEGIN
		LOOP
			EXECUTE 'SELECT ' || condition INTO STRICT holds;
			EXIT WHEN holds;
			IF clock_timestamp() > now() + interval '60 s' THEN
				RAISE 'in vain: %', condition;
			END IF;
			PERFORM pg_sleep(0.001);
		END LOOP;
	END $$;

	-- A client's attempt at row n, in the way that is its turn, which is noted with what
	-- it was told; a whole group of rows at the first of them, where the way takes many.
	-- The transaction stays open a little after it, so that others have to wait. One of
	-- the clients comes first: where led is true the others wait until it has made its
	-- attempt, and it stays until each of them waits for it, so that each way wins and each
	-- loses a race, however slow a machine is; else it is a little earlier, and who wins
	-- is not known.
	CREATE FUNCTION race.attempt(client int, lifecycle int, row_n int, size int, clients int, led boolean) RETURNS void LANGUAGE plpgsql AS $$
	#variable_conflict use_column
	DECLARE
		l race.lifecycles := (SELECT l FROM race.lifecycles l WHERE id = lifecycle);
		turn int := client + (row_n - 1) / size;
		f race.fates := (SELECT f FROM race.fates f WHERE id = lifecycle AND n = turn % (SELECT count(*) FROM race.fates WHERE id = lifecycle));
		ways text[] := CASE WHEN l.moved_by IS NULL THEN '{swap,try,many,update,conditional}' ELSE '{update,conditional}' END;
		way text := ways[1 + turn % cardinality(ways)];
		key text := (SELECT key FROM race.keys WHERE relation = l.relation AND n = row_n);
		told text;
		rows bigint;
		first boolean := (client + lifecycle + row_n) % clients = 0;
	BEGIN
		IF NOT first AND led THEN
			PERFORM race.wait_until(format($q$EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s)$q$, lifecycle, row_n));
		ELSIF NOT first THEN
			PERFORM pg_sleep(0.001);
		END IF;
		PERFORM set_config('petition_cas.actor', format('client %s by %s', client, way), true);
		BEGIN
			CASE way
				WHEN 'swap' THEN
					EXECUTE format('SELECT 1 FROM compare_and_swap(NULL::%s, $1, $2, $3, $4, state_column => $5)', l.relation)
						USING key, l.expected, f.fate, f.changes, l.state_column;
					told := 'assigned';
				WHEN 'try' THEN
					SELECT outcome INTO told FROM try_compare_and_swap(l.relation::regclass, key, l.expected, f.fate, f.changes, state_column => l.state_column);
				WHEN 'many' THEN
					IF (row_n - 1) % size <> 0 THEN
						RETURN;
					END IF;
					EXECUTE format('INSERT INTO race.attempts SELECT $6, $7, $8, key, $3, outcome FROM compare_and_swap_many(NULL::%s, $1, $2, $3, $4, state_column => $5)', l.relation)
						USING (SELECT array_agg(key ORDER BY random()) FROM race.keys WHERE relation = l.relation AND n BETWEEN row_n AND row_n + size - 1),
							l.expected, f.fate, f.changes, l.state_column, lifecycle, client, way;
				ELSE
					EXECUTE race.statement(l, f, key, way = 'conditional');
					GET DIAGNOSTICS rows = ROW_COUNT;
					told := CASE rows WHEN 0 THEN 'none' WHEN 1 THEN 'updated' ELSE rows || ' rows' END;
			END CASE;
		EXCEPTION WHEN OTHERS THEN
			told := CASE WHEN SQLSTATE ~ '^PF' THEN SQLSTATE ELSE SQLSTATE || ': ' || SQLERRM END;
		END;
		INSERT INTO race.attempts SELECT lifecycle, client, way, key, f.fate, told WHERE way <> 'many';
		IF first AND led THEN
			PERFORM pg_advisory_lock(lifecycle, row_n);
			PERFORM race.wait_until(format('count(DISTINCT pid) = %s FROM pg_locks WHERE NOT granted', clients - 1));
		ELSE
			PERFORM pg_sleep(0.002);
		END IF;
	END $$;

	CREATE FUNCTION race.clean(client int, lifecycle int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		command text := (SELECT cleaner FROM race.lifecycles WHERE id = lifecycle AND client = 0);
	BEGIN
		IF command IS NOT NULL THEN
			EXECUTE command;
		END IF;
	END $$});

while (my ($id, $lifecycle) = each @lifecycles)
{
	my ($table, $column, $expected, $fates, %more) = @$lifecycle;
	my $n = 0;

	$node->safe_psql('postgres', "INSERT INTO race.lifecycles VALUES ($id, '$table', '$column', " . literal($expected) . ', '
		  . join(', ', map { defined $more{$_} ? literal($more{$_}) : 'NULL' } qw(by cleaner)) . ');'
		  . join '', map { "INSERT INTO race.fates VALUES ($id, " . $n++ . ', ' . literal($_) . ', ' . json_of($fates->{$_}) . ');' } sort keys %$fates);
}
$node->safe_psql('postgres', "INSERT INTO race.keys SELECT '$_', row_number() OVER (ORDER BY row_key(t)), row_key(t) FROM $_ t") foreach @tables;

sub json_of
{
	my ($changes) = @_;
	return 'jsonb_build_object(' . join(', ', map { literal($_) . ', ' . literal($changes->{$_}) } sort keys %$changes) . ')';
}

# Has all clients decide the rows, each attempt in a transaction of its own; those from
# the given one on have no fate yet.
sub contest
{
	my ($database, $from, $rows, $name) = @_;
	my $script = $node->basedir . "/$database.sql";
	my $cleaner = 0;

	foreach my $id (0 .. $#lifecycles)
	{
		my %more = @{ $lifecycles[$id] }[ 4 .. $#{ $lifecycles[$id] } ];

		append_to_file($script, "SELECT race.attempt(:client_id, $id, $_, $group, $clients, " . ($_ >= $from && $_ % $group == 1 ? 'true' : 'false') . ");\n" . ($more{cleaner} ? "SELECT race.clean(:client_id, $id);\n" : ''))
		  foreach 1 .. $rows;
	}
	command_ok([ 'pgbench', '-n', '-c', $clients, '-j', $clients, '-t', 1, '-f', $script, $node->connstr($database) ], "$name: the clients ran");
	return;
}

# The text of a ledger's key, as row_key has it; the name of the ledger.
my %ledgers = map { my ($relation, $column, $ledger, $key) = split /\|/; ("$relation.$column" => [ $ledger, $key ]) }
  split /\n/, $node->safe_psql('postgres', q{
	SELECT relation, state_column, ledger, CASE cardinality(key_columns) WHEN 1 THEN key_columns[1] || '::text'
		ELSE format('jsonb_build_array(%s)::text', (SELECT string_agg(k || '::text', ', ' ORDER BY o) FROM unnest(key_columns) WITH ORDINALITY u (k, o))) END
	FROM governed_tables()});

is(scalar(keys %ledgers), scalar(@lifecycles), 'each lifecycle is governed');

# What is to be so at any time: all is sound, and rows and ledgers agree.
sub check_sound
{
	my ($database, $name) = @_;

	is($node->safe_psql($database, join ' UNION ALL ', map { "SELECT '$_', v.* FROM verify_fates('$_') v" } @tables), '', "$name: verify_fates finds nothing");
	is($node->safe_psql($database, q{SELECT count(*), count(*) FILTER (WHERE problems = '{}') FROM governed_tables()}),
		scalar(@lifecycles) . '|' . scalar(@lifecycles), "$name: governed_tables has each lifecycle, and no problem");
	return;
}

# For each lifecycle: how many keys were contested by every client, have one winner who was
# told so, have the winner's fate in the ledger, and in the row, if that is still there.
sub check_winners
{
	my ($database, $name, $rows, $from, $attempts) = @_;

	while (my ($id, $lifecycle) = each @lifecycles)
	{
		my ($table, $column, $expected) = @$lifecycle;
		my ($ledger, $key) = @{ $ledgers{"$table.$column"} };

		is($node->safe_psql($database, qq{
			WITH fates AS (SELECT $key AS key, from_state, fate, assigned_by FROM $ledger),
			contests AS (
				SELECT k.key, count(*) AS clients,
					count(*) FILTER (WHERE told = 'assigned' OR way = 'conditional' AND told = 'updated') AS told_so,
					count(*) FILTER (WHERE assigned_by = format('client %s by %s', client, way) AND wanted = fate AND told IN ('assigned', 'updated')) AS winners,
					count(*) FILTER (WHERE way = 'update' AND told = 'updated' AND wanted = fate AND assigned_by = format('client %s by %s', client, way)) AS silent
				FROM race.keys k JOIN race.attempts a USING (key) LEFT JOIN fates f USING (key)
				WHERE relation = '$table' AND n BETWEEN $from AND $rows AND id = $id GROUP BY k.key)
			SELECT count(*), count(*) FILTER (WHERE clients = $attempts), count(*) FILTER (WHERE winners = 1), count(*) FILTER (WHERE told_so + silent = 1),
				(SELECT count(*) FROM fates WHERE from_state = } . literal($expected) . qq{),
				(SELECT count(*) FROM $table t JOIN fates f ON f.key = row_key(t) WHERE t.$column\::text IS DISTINCT FROM f.fate)
			FROM contests}),
			join('|', ($rows - $from + 1) x 4, $rows, 0), "$name, $table.$column: one winner for each row, one fate");
	}
	return;
}

# What losers may be told, in each way; an UPDATE to the fate that stands changes no state.
my %told = (
	swap => 'PF001 PF002', try => 'already_fated concurrent_modification', many => 'already_fated concurrent_modification',
	update => 'PF002 updated', conditional => 'none');
my %gone = (swap => 'PF004', try => 'not_found', many => 'not_found', update => 'none', conditional => 'none');

# Checks what those were told who did not win a row up to the given one.
sub check_losers
{
	my ($database, $name, $rows) = @_;
	my @wrong;

	foreach (split /\n/, $node->safe_psql($database, qq{
		SELECT DISTINCT id, way, told, count(*) OVER (PARTITION BY id, way, told) FROM race.attempts JOIN race.lifecycles USING (id) JOIN race.keys USING (relation, key)
		WHERE n <= $rows AND told <> 'assigned' AND NOT (way = 'conditional' AND told = 'updated')}))
	{
		my ($id, $way, $what, $count) = split /\|/;
		my ($table, $column, undef, undef, %more) = @{ $lifecycles[$id] };
		my %may = map { $_ => 1 } split(/ /, $told{$way}), $more{cleaner} ? $gone{$way} : (), $way eq 'update' ? $more{also} // () : ();

		push @wrong, "$table.$column, $way: $what ($count)" unless $may{ $what =~ s/:.*//r };
	}
	is_deeply(\@wrong, [], "$name: every loser is told so");
	return;
}

contest('postgres', 1, $contested, 'the race');
note($node->safe_psql('postgres', 'SELECT way, told, count(*) FROM race.attempts GROUP BY 1, 2 ORDER BY 1, 2'));
is($node->safe_psql('postgres', q{
	SELECT string_agg(DISTINCT told, ' ' ORDER BY told) FROM race.attempts WHERE told IN ('concurrent_modification', 'PF001')}),
	'PF001 concurrent_modification', 'the race: it was one');
is($node->safe_psql('postgres', q{
	SELECT string_agg(DISTINCT way, ' ' ORDER BY way) FROM race.attempts WHERE told IN ('assigned', 'updated')}),
	'conditional many swap try update', 'the race: won in each way');
check_winners('postgres', 'the race', $contested, 1, $clients);
check_losers('postgres', 'the race', $contested);
check_sound('postgres', 'the race');
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM jobs) < 13, (SELECT count(*) FROM reservations WHERE warehouse = 1)}), 't|0', 'the cleaners have deleted jobs, and a warehouse with its reservations');

# --- Dump, restore, and decide once more ------------------------------------------------

# All that is in tables and ledgers, less the one row that is decided later.
sub contents
{
	my ($database, $ledgers_alone) = @_;
	my @ledgers = map { [ $_->[0], $_->[1], 'l' ] } values %ledgers;
	my @rows = map { [ $_, 'row_key(l)', 'l' ] } @tables;

	return $node->safe_psql($database, join '; ', map { "SELECT '$_->[0]', count(*), md5(string_agg(l::text, ' ' ORDER BY l::text)) FROM $_->[0] l WHERE NOT EXISTS (SELECT FROM race.keys WHERE key = $_->[1] AND n = 13)" }
		  sort { $a->[0] cmp $b->[0] } @ledgers, $ledgers_alone ? () : @rows);
}

my $dump = $node->basedir . '/dump';
my ($all, $fates) = (contents('postgres'), contents('postgres', 1));

command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-j2', '-d', $node->connstr('restored'), $dump ], 'restored');
is(contents('restored'), $all, 'restored: rows and ledgers are what they were');
check_sound('restored', 'restored');

$node->safe_psql('restored', 'TRUNCATE race.attempts');
contest('restored', 13, 13, 'after the restore');
note($node->safe_psql('restored', 'SELECT way, told, count(*) FROM race.attempts GROUP BY 1, 2 ORDER BY 1, 2'));
is($node->safe_psql('restored', q{
	SELECT count(*), count(*) FILTER (WHERE told = 'assigned' OR way = 'conditional' AND told = 'updated')
	FROM race.attempts JOIN race.lifecycles USING (id) JOIN race.keys USING (relation, key) WHERE n <= } . $contested),
	scalar(@lifecycles) * $contested * $clients . '|0', 'after the restore: nobody wins a row that has its fate');
is(contents('restored', 1), $fates, 'after the restore: the ledgers keep what they had');
check_winners('restored', 'after the restore', 13, 13, $clients);
check_losers('restored', 'after the restore', 13);
check_sound('restored', 'after the restore');

# A job that was deleted comes again with its key: it has its fate.
is($node->safe_psql('restored', q{
	DELETE FROM jobs WHERE finished_at IS NOT NULL;
	INSERT INTO jobs (id, payload) OVERRIDING SYSTEM VALUE SELECT id, '{}' FROM jobs_fates ORDER BY id LIMIT 2;
	UPDATE jobs SET status = 'running';
	SELECT DISTINCT outcome FROM compare_and_swap_many(NULL::jobs, (SELECT array_agg(id) FROM jobs), 'running', 'failed', '{"finished_at": "now"}');
	SELECT count(*) FROM jobs_fates;
	SELECT count(*) FROM verify_fates('jobs') WHERE problem LIKE 'the row''s state is "running", but the ledger holds the fate %'}),
	"already_fated\n13\n2", 'a job that comes again with its key gets no second fate, and verify_fates names it');

$node->stop;
done_testing();
