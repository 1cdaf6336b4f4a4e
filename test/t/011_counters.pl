# petition_cas_counters: equal to what the clients of a race were told, at each isolation
# level; what was assigned is counted when it is committed, and a loss at once; by
# database. Before PostgreSQL 17 there are none, which an error says.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib $FindBin::Bin;
use Race;

my @names = qw(assigned not_found already_fated concurrent_modification evidence_changed invalid_transition roster_changed);
my %outcome_of = (PF001 => 'concurrent_modification', PF002 => 'already_fated', won => 'assigned');
my $node = new_server('counters', 'max_prepared_transactions = 2', 'max_connections = 30');

if ($node->safe_psql('postgres', 'SHOW server_version_num') < 170000)
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM petition_cas_counters()");

	like($err, qr/ERROR:  0A000: petition_cas counts only on PostgreSQL 17 and later\n.*HINT:  Count the rows of ledgers/s, 'without counters');
	$node->stop;
	done_testing();
	exit;
}

# Returns what is counted in a database, by name.
sub counted
{
	my ($database) = @_;
	my %count;

	@count{@names} = split /\|/,
	  $node->safe_psql('postgres', 'SELECT ' . join(', ', @names) . " FROM petition_cas_counters() WHERE database = '$database'");
	return \%count;
}

# Tests that a function changes the counters of a database by so much, and no others.
sub counts
{
	my ($database, $what, $expected, $function) = @_;
	my $before = counted($database);
	$function->();
	my $after = counted($database);
	my %difference;

	for (@names)
	{
		my $by = ($after->{$_} // 0) - ($before->{$_} // 0);
		$difference{$_} = $by if $by;
	}
	is_deeply(\%difference, $expected, $what);
	return;
}

# Runs commands in one session, whatever their errors.
sub run_sql
{
	my ($sql, $database) = @_;
	return $node->psql($database // 'postgres', $sql, on_error_stop => 0);
}

# --- A race -----------------------------------------------------------------------

for my $level ('read committed', 'repeatable read', 'serializable')
{
	my %told;

	fill_petitions($node, 200);
	counts('postgres', "$level: nothing was told", {}, sub { });
	my $before = counted('postgres');
	for (race($node, clients => 8, level => $level, petitions => sub { [ 1 .. 200 ] }, hold => 0.001))
	{
		$told{ $outcome_of{ $_->{outcome} } // $_->{outcome} }++;
	}
	my $after = counted('postgres');
	is($told{assigned}, 200, "$level: each petition was decided");
	is_deeply({ map { $_ => $after->{$_} - ($before->{$_} || 0) } @names }, { map { $_ => $told{$_} // 0 } @names },
		"$level: what is counted is what the clients counted");
}

# --- Each of them -----------------------------------------------------------------

my $tables = q{
	CREATE TABLE payments (id int PRIMARY KEY, state text DEFAULT 'open', amount int DEFAULT 1);
	SELECT govern('payments', '{"open": ["held", "paid", "void"], "held": ["open"]}', evidence => '{amount}', keep_rows => false);
	INSERT INTO payments SELECT generate_series(1, 100);
};

sub swap { return "SELECT state FROM compare_and_swap(null::payments, $_[0]);" }
sub try { return "SELECT outcome FROM try_compare_and_swap(null::payments, $_[0]);" }

$node->safe_psql('postgres', $tables);
my $wrong_hash = "seen_hash => '" . '0' x 64 . "'";
for my $way (\&swap, \&try)
{
	my $n = $way == \&swap ? 1 : 2;

	counts('postgres', 'each outcome', { assigned => 2, not_found => 1, already_fated => 1, concurrent_modification => 1,
			evidence_changed => 1, invalid_transition => 1 }, sub {
			run_sql(join ' ', map { $way->($_) } "$n, 'open', 'held'", "$n, 'open', 'held'", "$n, 'held', 'paid'", "10$n, 'open', 'held'",
				"9$n, 'open', 'paid', $wrong_hash", "$n$n, 'open', 'paid'", "$n$n, 'open', 'paid'") });
}
counts('postgres', 'a set', { assigned => 3, already_fated => 1, not_found => 1 }, sub {
		run_sql("SELECT * FROM compare_and_swap_many(null::payments, ARRAY[30, 31, 200, 32, 30], 'open', 'paid')") });
counts('postgres', 'a row that is new under a key that has a fate', { already_fated => 2 }, sub {
		run_sql("DELETE FROM payments WHERE id = 30; INSERT INTO payments VALUES (30);" . swap("30, 'open', 'paid'") . try("30, 'open', 'void'")) });
counts('postgres', 'a claim', { roster_changed => 1 }, sub {
		run_sql("SELECT * FROM claim_roster('payments', 'amount:5', null::text[], repeat('0', 64))") });
counts('postgres', 'a mistake is none of them', {}, sub { run_sql(swap("40, 'open', 'nowhere'") . swap("null, 'open', 'paid'")) });
counts('postgres', 'plain SQL is not counted', {}, sub {
		run_sql("UPDATE payments SET state = 'paid' WHERE id = 41; UPDATE payments SET state = 'void' WHERE id = 41") });

# --- When -------------------------------------------------------------------------

my $one = swap("50, 'open', 'held'") . swap("50, 'held', 'open'");

counts('postgres', 'a transaction that is rolled back', { already_fated => 1 }, sub {
		run_sql("BEGIN; $one" . try("31, 'open', 'paid'") . 'ROLLBACK') });
counts('postgres', 'savepoints', { assigned => 8 }, sub {
		run_sql("BEGIN; $one SAVEPOINT a; $one SAVEPOINT b; $one ROLLBACK TO b; SAVEPOINT c; $one RELEASE a; SAVEPOINT d; $one ROLLBACK TO d; $one COMMIT") });
counts('postgres', 'savepoints, all undone', {}, sub {
		run_sql("BEGIN; SAVEPOINT a; SAVEPOINT b; $one RELEASE b; ROLLBACK TO a; COMMIT") });
counts('postgres', 'savepoints, one after the other', { assigned => 2 }, sub {
		run_sql("BEGIN; SAVEPOINT a; $one RELEASE a; SAVEPOINT b; ROLLBACK TO b; COMMIT") });
counts('postgres', 'a block with a handler', { assigned => 2, already_fated => 1 }, sub {
		run_sql(q{DO $$ BEGIN
			PERFORM compare_and_swap(null::payments, 50, 'open', 'held');
			PERFORM compare_and_swap(null::payments, 50, 'held', 'open');
			BEGIN
				PERFORM compare_and_swap(null::payments, 50, 'open', 'held');
				PERFORM compare_and_swap(null::payments, 31, 'open', 'paid');
			EXCEPTION WHEN SQLSTATE 'PF002' THEN NULL;
			END;
		END $$}) });
counts('postgres', 'a prepared transaction', { assigned => 2 }, sub { run_sql("BEGIN; $one PREPARE TRANSACTION 'x'") });
counts('postgres', 'and then', {}, sub { run_sql("COMMIT PREPARED 'x'") });
counts('postgres', 'a transaction that fails at its end', {}, sub {
		run_sql("CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE children (id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
			BEGIN; INSERT INTO children VALUES (1); $one COMMIT") });

# --- Where ------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', "CREATE EXTENSION petition_cas; $tables");
counts('postgres', 'another database has its own', {}, sub {
		counts('other', 'counters', { assigned => 2 }, sub { run_sql($one, 'other') }) });
is($node->safe_psql('other', "SELECT count(*) FROM petition_cas_counters() WHERE since BETWEEN now() - interval '1 hour' AND now()"),
	2, 'and each says since when');
$node->safe_psql('postgres', 'DROP DATABASE other');
is($node->safe_psql('postgres', 'SELECT string_agg(database, $$ $$) FROM petition_cas_counters()'), 'postgres', 'a database that was dropped has none');
$node->safe_psql('postgres', 'CREATE DATABASE third');
$node->safe_psql('third', "CREATE EXTENSION petition_cas; $tables $one");
is_deeply(counted('third'), { (map { $_ => 0 } @names), assigned => 2 }, 'and leaves nothing to the next one');
$node->safe_psql('third', 'CREATE ROLE looker LOGIN');
is($node->safe_psql('third', 'SELECT count(*) FROM petition_cas_counters()', extra_params => [ '-U', 'looker' ]), 2, 'anybody may look');

$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', 'SELECT count(*) FROM petition_cas_counters()'), 0, 'a server that starts begins anew');

$node->stop;
done_testing();
