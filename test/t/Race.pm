# What the cluster tests share: a server with petitions, clients that are real
# sessions of psql and start at the same moment, and the comparison of what
# each of them was told with what is stored.

package Race;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server fill_petitions petition_id race check_race);

my @fates = qw(ACKNOWLEDGED REFERRED ESCALATED);

# Starts a server with the extension and an empty table of petitions.
sub new_server
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', join("\n", 'fsync = off', @settings, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION petition_cas; SELECT create_petitions()');
	return $node;
}

sub petition_id
{
	my ($n) = @_;
	return sprintf('00000000-0000-0000-0000-%012d', $n);
}

# Begins anew with that many petitions, all of them DELIBERATING.
sub fill_petitions
{
	my ($node, $count) = @_;
	$node->safe_psql('postgres', qq{
		DROP TABLE petition_submissions, petition_submissions_fates;
		SELECT create_petitions();
		INSERT INTO petition_submissions (id, text, state)
		SELECT lpad(n::text, 32, '0')::uuid, 'text', 'DELIBERATING' FROM generate_series(1, $count) n});
	return;
}

# The fate that a client tries to assign to a petition.
sub wanted_fate
{
	my ($client, $n) = @_;
	return $fates[ ($client + $n) % 3 ];
}

# Writes the script of one client: each petition once, in a transaction, with
# the raising and the try_ form by turns. The snapshot is taken before the swap,
# and the transaction stays open a little after it, so that others have to wait.
sub client_script
{
	my ($client, %race) = @_;
	my $script = "SET petition_cas.actor = 'client $client';\n"
	  . "SET default_transaction_isolation = '$race{level}';\n"
	  . "SELECT pg_advisory_lock_shared(1);\nSELECT pg_advisory_unlock_shared(1);\n";

	for my $n (@{ $race{petitions}->($client) })
	{
		my $arguments = "'" . petition_id($n) . "', 'DELIBERATING', '" . wanted_fate($client, $n) . "'";

		$script .= "BEGIN;\nSELECT FROM pg_class LIMIT 0;\n";
		if (($client + $n) % 2)
		{
			$script .= "SELECT 'try', $n, outcome, current_state FROM try_assign_fate($arguments);\n";
		}
		else
		{
			$script .= "\\echo raising|$n\n\\warn raising|$n\nSELECT 'won', $n FROM assign_fate($arguments);\n";
		}
		$script .= "SELECT pg_sleep($race{hold});\n" if $race{hold};
		$script .= "COMMIT;\n";
	}
	return $script;
}

# Runs a race; arguments are clients (how many), level, petitions (a function of
# the client to the numbers it tries, in order) and hold (seconds to keep a
# transaction open). Returns what each attempt was told, as a list of hashes
# with client, n, wanted, outcome and current.
sub race
{
	my ($node, %race) = @_;
	my $starter = $node->background_psql('postgres');
	my (@clients, @attempts);

	$starter->query_safe('SELECT pg_advisory_lock(1)');
	for my $client (1 .. $race{clients})
	{
		my $base = $node->basedir . "/client_$client";
		my %c = (number => $client, base => $base);

		append_to_file("$base.sql", client_script($client, %race));
		$c{run} = IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', "$base.sql" ],
			'<', '/dev/null', '>', "$base.out", '2>', "$base.err",
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
		push @clients, \%c;
	}
	$node->poll_query_until('postgres',
		"SELECT count(*) = $race{clients} FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or die 'the clients did not come to the start';
	$starter->quit;
	$_->{run}->finish for @clients;
	push @attempts, read_attempts($_) for @clients;
	unlink map { ("$_->{base}.sql", "$_->{base}.out", "$_->{base}.err") } @clients;
	return @attempts;
}

# Reads what one client was told.
sub read_attempts
{
	my ($client) = @_;
	my %attempts;
	my ($n, $code);
	my $attempt = sub {
		my ($number) = @_;
		return $attempts{$number} //=
		  { client => $client->{number}, n => $number, wanted => wanted_fate($client->{number}, $number) };
	};

	for my $line (split /\n/, slurp_file("$client->{base}.out"))
	{
		my @fields = split /\|/, $line;

		next unless @fields;
		if ($fields[0] eq 'raising')
		{
			$attempt->($fields[1])->{outcome} = 'silent';
		}
		elsif ($fields[0] eq 'won')
		{
			@{ $attempt->($fields[1]) }{qw(outcome current)} = ('assigned', wanted_fate($client->{number}, $fields[1]));
		}
		elsif ($fields[0] eq 'try')
		{
			@{ $attempt->($fields[1]) }{qw(outcome current)} = @fields[ 2, 3 ];
		}
	}
	for my $line (split /\n/, slurp_file("$client->{base}.err"))
	{
		if ($line =~ /^raising\|(\d+)/)
		{
			$n = $1;
			$code = undef;
		}
		elsif ($line =~ /ERROR:\s+(\w{5}): (.*)/)
		{
			# After an error the rest of its transaction fails too.
			next if $1 eq '25P02' && defined $code;
			$code = $1;
			$n = 0 unless defined $n;
			$attempt->($n)->{outcome} = $code;
			$attempt->($n)->{message} = $2;
		}
		elsif ($line =~ /^DETAIL:\s+(\{.*)/)
		{
			my $detail = decode_json($1);

			$attempt->($n)->{current} = $detail->{current_state};
			$attempt->($n)->{detail} = $detail;
		}
	}
	return values %attempts;
}

# Compares what the clients of a race were told with what is stored.
sub check_race
{
	my ($node, $name, $petitions, @attempts) = @_;
	my %loses = map { $_ => 1 } qw(concurrent_modification already_fated PF001 PF002);
	my (%stored, %wins, %outcomes, %by_client, %by_fate);

	for (split /\n/, $node->safe_psql('postgres', q{
		SELECT ltrim(replace(p.id::text, '-', ''), '0'), p.state, f.from_state, f.fate, f.assigned_by
		FROM petition_submissions p LEFT JOIN petition_submissions_fates f USING (id)}))
	{
		my ($n, @fields) = split /\|/;
		$stored{$n} = \@fields;
	}
	for my $attempt (@attempts)
	{
		my $how = exists $attempt->{message} ? 'assign_fate' : $attempt->{outcome} eq 'assigned' ? 'won' : 'try_assign_fate';

		$outcomes{$how}{ $attempt->{outcome} }++;
		next unless $attempt->{outcome} eq 'assigned';
		push @{ $wins{ $attempt->{n} } }, $attempt;
		$by_client{ $attempt->{client} }++;
		$by_fate{ $attempt->{wanted} }++;
	}
	note "$name: ", encode_json(\%outcomes);
	note "$name: petitions won by each client: ", join(' ', map { "$_:" . ($by_client{$_} // 0) } sort { $a <=> $b } keys %by_client);
	note "$name: petitions with each fate: ", join(' ', map { "$_:" . ($by_fate{$_} // 0) } @fates);

	is(scalar(keys %wins), $petitions, "$name: each of $petitions petitions has a winner");
	is(scalar(grep { @$_ > 1 } values %wins), 0, "$name: none has two");
	is_deeply(
		[ map { "$_->{outcome} $_->{n} " . ($_->{message} // '') } grep { $_->{outcome} ne 'assigned' && !$loses{ $_->{outcome} } } @attempts ],
		[], "$name: every loser is told PF001 or PF002, and nothing else happens");

	my @wrong = grep {
		my ($win) = @{ $wins{$_} // [ { wanted => '', client => 0 } ] };
		my ($state, $from_state, $fate, $by) = @{ $stored{$_} };

		$state ne $win->{wanted} || $fate ne $win->{wanted} || $from_state ne 'DELIBERATING' || $by ne "client $win->{client}";
	} keys %stored;
	is_deeply(\@wrong, [], "$name: stored state and ledger row are the winner's");
	is_deeply(
		[ grep { ($_->{current} // '') ne $stored{ $_->{n} }[0] } grep { $loses{ $_->{outcome} } } @attempts ],
		[], "$name: each loser is told the fate that stands");
	is_deeply(
		[ grep { defined $_->{detail} && ($_->{detail}{assigned_by} // '') ne $stored{ $_->{n} }[3] } @attempts ],
		[], "$name: and who assigned it");
	is($node->safe_psql('postgres', "SELECT count(*) FROM verify_fates('petition_submissions')"),
		0, "$name: verify_fates finds nothing");
	return (\%by_client, \%by_fate);
}

1;
