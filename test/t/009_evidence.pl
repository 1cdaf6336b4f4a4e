# A race of editors and deciders, 8 of each, over 2,000 payments, at each isolation
# level, and again while the whole server is killed (SIGKILL), again and again. Who
# decides has read the payment in a transaction before, so that edits come between. Some
# decide by functions with seen_hash, some by an UPDATE that compares the hash itself,
# some whatever is there.
#
# For each fate the ledger has the hash of the row, computed here from the row's text,
# and it is the one that the winner sent. After the fate no evidence changes.
#
# PETITION_CAS_CRASH_CYCLES says how often the server is killed.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use IPC::Run;
use lib $FindBin::Bin;
use Load;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 2000;
my $crashes = count_of('PETITION_CAS_CRASH_CYCLES', 3);
my $node = PostgreSQL::Test::Cluster->new('evidence');
my (%total, %scripts);

$node->init;
$node->append_conf('postgresql.conf', load_conf());
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION petition_cas');

# Creates the payments anew.
sub fill_payments
{
	$node->safe_psql('postgres', qq{
		SET synchronous_commit = off;
		DROP TABLE IF EXISTS payments, payments_fates;
		CREATE TABLE payments (id int PRIMARY KEY, state text NOT NULL DEFAULT 'open', payee text, amount numeric(12, 2), memo text);
		SELECT govern('payments', '{"open": ["paid", "refused"]}', evidence => '{amount,payee,memo}');
		INSERT INTO payments SELECT n, 'open', 'Zoë ' || n, n, NULL FROM generate_series(1, $rows) n});
	return;
}

# What a client sends: each line reads 20 payments at random and makes a statement of each,
# which \gexec then executes, in a transaction of its own. The statement is chosen by
# chance among those given, which have the row's values in braces.
sub client_script
{
	my ($name, $what, @statements) = @_;
	my $file = $node->basedir . "/$name.sql";
	my $choice = join ', ', map { "'" . s/'/''/gr =~ s/\{id\}/%1\$s/gr =~ s/\{seen\}/%2\$L/gr =~ s/\{other\}/%3\$s/gr . "'" } @statements;
	my $read = "SELECT format((ARRAY[$choice])[1 + floor(random() * " . @statements . ")], id, seen, 1 + id % $rows)\n"
	  . "FROM (SELECT id, evidence_hash(p) AS seen FROM payments p WHERE $what ORDER BY random() LIMIT 20) AS found \\gexec\n";
	my $round = "$read SELECT NOT EXISTS (SELECT FROM payments WHERE state = 'open') AS done \\gset\n\\if :done\n"
	  . ($name eq 'editor' ? $read =~ s/state = 'open'/true/r : '') . "\\q\n\\endif\n";

	append_to_file($file, $round x 500);
	return $file;
}

my @ways = (
	"SELECT 'won', id, {seen}, 'compare_and_swap' FROM compare_and_swap(NULL::payments, {id}, 'open', 'paid', reason => {seen}, seen_hash => {seen})",
	"SELECT CASE outcome WHEN 'assigned' THEN 'won' ELSE outcome END, {id}, {seen}, 'try_compare_and_swap' FROM try_compare_and_swap(NULL::payments, {id}, 'open', 'refused', reason => {seen}, seen_hash => {seen})",
	"UPDATE payments p SET state = 'paid' WHERE id = {id} AND state = 'open' AND evidence_hash(p) = {seen} RETURNING 'won', id, {seen}, 'UPDATE, as seen'",
	"UPDATE payments SET state = 'refused' WHERE id = {id} AND state = 'open' RETURNING 'won', id, '', 'UPDATE, whatever is there'",
	"SELECT CASE outcome WHEN 'assigned' THEN 'won' ELSE outcome END, key, '', 'compare_and_swap_many' FROM compare_and_swap_many(NULL::payments, ARRAY[{id}, {other}], 'open', 'paid')");
my @edits = (
	"UPDATE payments SET amount = amount + 1 WHERE id = {id} RETURNING 'edited', id",
	"UPDATE payments SET payee = 'Zoë ' || random(), memo = CASE WHEN memo IS NULL THEN '' END WHERE id = {id} RETURNING 'edited', id",
	"UPDATE payments SET amount = -amount, payee = NULL WHERE id IN ({id}, {other}) AND state = 'open' RETURNING 'edited', id",
	# away and back, and one that is rolled back
	"DO \$\$ BEGIN UPDATE payments SET amount = amount + 1 WHERE id = {id}; UPDATE payments SET amount = amount - 1 WHERE id = {id}; END \$\$",
	"DO \$\$ BEGIN UPDATE payments SET amount = amount + 1 WHERE id = {id}; RAISE SQLSTATE 'ZZ999'; END \$\$");
$scripts{decider} = client_script('decider', "state = 'open'", @ways);
$scripts{editor} = client_script('editor', "state = 'open'", @edits);

sub start_race
{
	my ($level) = @_;
	my @clients;

	for my $client (map { ("decider $_", "editor $_") } 1 .. 8)
	{
		my ($kind) = $client =~ /(\w+)/;
		my $base = $node->basedir . '/' . $client =~ s/ /_/r;

		local $ENV{PGOPTIONS} = "-c default_transaction_isolation=" . $level =~ s/ /\\ /r . " -c petition_cas.actor=" . $client =~ s/ /_/r;
		push @clients, { name => $client, kind => $kind, base => $base, run => IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', $scripts{$kind} ],
			'<', '/dev/null', '>', "$base.out", '2>', "$base.err",
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)) };
	}
	return @clients;
}

# Waits for the clients; returns what they were told: won (a list of hashes with id, sent,
# how and by), and how often there was each other outcome or error.
sub finish_race
{
	my %told = (won => []);

	for my $client (@_)
	{
		$client->{run}->finish;
		for my $line (split /\n/, slurp_file("$client->{base}.out"))
		{
			my ($what, $id, $sent, $how) = split /\|/, $line;

			if ($what eq 'won') { push @{ $told{won} }, { id => $id, sent => $sent, how => $how, by => $client->{name} =~ s/ /_/r }; }
			else { $told{$what}++; }
		}
		for (split /\n/, slurp_file("$client->{base}.err"))
		{
			$told{"$client->{kind} $1"}++ if /(?:ERROR|FATAL|PANIC):\s+(\w{5}): /;
		}
		unlink "$client->{base}.out", "$client->{base}.err";
	}
	return %told;
}

# The hash of a row, from its columns in hexadecimal; - for null.
sub hash_of
{
	my %column;
	my $text = '';

	@column{qw(amount payee memo)} = @_;
	for my $name (qw(amount payee memo))
	{
		my $value = pack 'H*', $column{$name};

		$text .= $column{$name} eq '-' ? "$name\n-\n\n" : "$name\n" . length($value) . "\n$value\n";
	}
	return sha256_hex($text);
}

# Compares what the clients were told with what is stored. Returns figures, of which
# the first ones named are to be 0.
my @none = qw(unseen lost double unlike unrecorded problems);

sub check
{
	my (%told) = @_;
	my (%stored, %winner);
	my %figures = map { $_ => 0 } @none, qw(fates acknowledged seen);

	for (split /\n/, $node->safe_psql('postgres', q{
		SELECT id, state, coalesce(fate, ''), coalesce(evidence_hash, ''), coalesce(assigned_by, ''), coalesce(reason, ''),
			encode(amount::text::bytea, 'hex'), coalesce(encode(convert_to(payee, 'UTF8'), 'hex'), '-'), coalesce(encode(convert_to(memo, 'UTF8'), 'hex'), '-')
		FROM payments FULL JOIN payments_fates USING (id)}))
	{
		my ($id, @fields) = split /\|/, $_, -1;

		@{ $stored{$id} }{qw(state fate hash by reason amount payee memo)} = @fields;
	}
	for my $id (keys %stored)
	{
		my $row = $stored{$id};

		$figures{unrecorded}++ if $row->{fate} ne ($row->{state} eq 'open' ? '' : $row->{state});
		next if $row->{fate} eq '';
		$figures{fates}++;
		$figures{unlike}++ if $row->{hash} ne hash_of(@$row{qw(amount payee memo)});
		# the functions record there what they were sent, told or not
		$figures{unseen}++ if $row->{reason} ne '' && $row->{reason} ne $row->{hash};
	}
	for my $win (@{ $told{won} })
	{
		my $row = $stored{ $win->{id} };

		$figures{acknowledged}++;
		$figures{double}++ if $winner{ $win->{id} }++;
		$figures{lost}++ if $row->{fate} eq '' || $row->{by} ne $win->{by};
		next if $win->{sent} eq '';
		$figures{seen}++;
		$figures{unseen}++ if $row->{hash} ne $win->{sent};
	}
	$figures{problems} = $node->safe_psql('postgres', q{SELECT count(*) FROM verify_fates('payments')});
	return %figures;
}

sub is_clean
{
	my ($name, %figures) = @_;

	is_deeply({ map { $_ => $figures{$_} } @none }, { map { $_ => 0 } @none },
		"$name: $figures{fates} fates, $figures{acknowledged} of them acknowledged, $figures{seen} of these with what was seen");
	add_figures(\%total, \%figures);
	return;
}

for my $level ('read committed', 'repeatable read', 'serializable')
{
	fill_payments();
	my %told = finish_race(start_race($level));
	my %figures = check(%told);
	my %how;

	$how{ $_->{how} }++ for @{ $told{won} };
	is_clean($level, %figures);
	is($figures{fates}, $rows, "$level: every payment is decided");
	is($figures{acknowledged}, $rows, "$level: and somebody was told so");
	is(scalar(keys %how), 5, "$level: in each way");
	my $changed = ($told{evidence_changed} // 0) + ($told{'decider PF007'} // 0);
	my $lost = ($told{concurrent_modification} // 0) + ($told{already_fated} // 0) + ($told{'decider PF001'} // 0) + ($told{'decider PF002'} // 0);
	cmp_ok($changed, '>', 0, "$level: edits came between: $changed times the evidence had changed");
	cmp_ok($lost, '>', 0, "$level: others came first: $lost times");
	cmp_ok($told{'editor PF006'} // 0, '>', 0, "$level: what was decided could not be edited");
	cmp_ok($told{edited}, '>', 1000, "$level: $told{edited} edits");
	# The server's own 40001 is for whoever writes plain SQL above READ COMMITTED, and
	# for anybody at SERIALIZABLE.
	my %known = map { $_ => 1 } qw(won edited evidence_changed concurrent_modification already_fated), 'editor PF006', 'editor ZZ999',
	  (map { "decider PF00$_" } 1, 2, 7), $level eq 'read committed' ? () : ('decider 40001', 'editor 40001');
	is_deeply([ grep { !$known{$_} } keys %told ], [ ], "$level: nobody was told anything else");
	note(join ', ', map { "$_: " . ($_ eq 'won' ? scalar @{ $told{won} } : $told{$_}) } sort keys %told);
	$total{changed} += $changed;
	$total{edits} += $told{edited};
}

for my $crash (1 .. $crashes)
{
	my $level = ('read committed', 'repeatable read', 'serializable')[ $crash % 3 ];

	fill_payments();
	my @clients = start_race($level);
	wait_for_load(100, 0.2, map { "$_->{base}.out" } @clients);
	kill_server($node);
	my %told = finish_race(@clients);
	$node->start;
	my %figures = check(%told);
	is_clean("crash $crash, $level", %figures);
	cmp_ok($figures{acknowledged}, '>', 50, "crash $crash: there was load");

	# what is left is decided afterwards, after an edit of each payment
	$node->psql('postgres', "UPDATE payments SET amount = amount + 1 WHERE state = 'open'");
	my %after = finish_race(start_race($level));
	push @{ $after{won} }, @{ $told{won} };
	%figures = check(%after);
	is_clean("after crash $crash", %figures);
	is($figures{fates}, $rows, "after crash $crash: every payment is decided");
}

diag("figures: $total{fates} fates checked, $total{seen} by who sent what was seen: $total{unseen} unseen decisions; "
	  . "$total{edits} edits, $total{changed} times evidence_changed; $crashes crashes: $total{lost} lost, $total{double} double, $total{unlike} with another hash");

$node->stop;
done_testing();
