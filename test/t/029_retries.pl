# Clients that send a call again, with the same request_id, until they have its answer:
# while their connections break, their backends are terminated, one is killed (SIGKILL,
# after which the server restarts itself), or the whole server is. Each call ends in
# "assigned" or in a true loss: what was assigned is in the ledger under its request,
# and nobody is told that he lost a decision that he had won.
#
# There are 8 clients. They decide petitions of their own, and others that all of them
# want, by each function, at each isolation level, some with seen_hash.
#
# PETITION_CAS_CRASH_CYCLES says how often the server is killed, and one backend.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use FindBin;
use IPC::Open2 qw(open2);
use IPC::Run;
use lib $FindBin::Bin;
use Load;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $clients = 8;
my $calls = 1000;    # at most, of each client
my $cycles = count_of('PETITION_CAS_CRASH_CYCLES', 3);
my @fates = qw(ACKNOWLEDGED REFERRED ESCALATED);
my $parent = $$;
my $hash = sha256_hex("text\n4\ntext\n");
my $node = PostgreSQL::Test::Cluster->new('retries');
my $folder = $node->basedir;

$node->init;
$node->append_conf('postgresql.conf', load_conf() . "restart_after_crash = on\nlog_min_messages = panic\n");
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION petition_cas;
	SELECT create_petitions();
	SELECT ungovern('petition_submissions');
	SELECT govern('petition_submissions', petition_lifecycle(), evidence => '{text}');
	INSERT INTO petition_submissions (id, text, state)
	SELECT format('00000000-0000-0000-%s-%s', lpad(c::text, 4, '0'), lpad(n::text, 12, '0'))::uuid, 'text', 'DELIBERATING'
	FROM generate_series(0, $clients) c, generate_series(0, 3 * $calls - 1) n});

# --- A client -------------------------------------------------------------------

sub petition
{
	my ($owner, $n) = @_;
	return sprintf '00000000-0000-0000-%04d-%012d', $owner, $n;
}

# The call of that number: its kind, the petitions that it decides, its SQL, and which
# state it wants. A call of a single petition prints that and its outcome, or raises an error.
sub call
{
	my ($client, $k) = @_;
	my $kind = (qw(assign_fate try_assign_fate compare_and_swap assign_fates compare_and_swap_many))[ ($client + $k) % 5 ];
	my $fate = $fates[ ($client + $k) % 3 ];
	my @ids = map { petition($client, 3 * $k + $_) } 0 .. 2;
	my $request = "request_id => 'request $client/$k'";
	my $swap = "'DELIBERATING', '$fate'";
	my $sql;

	push @ids, map { petition(0, 2 * $k + $_) } 0, 1;
	@ids = $ids[ $k % 2 ? 0 : 3 ] unless $kind =~ /fates|many/;
	$swap .= ", seen_hash => '$hash'" if $kind !~ /fates|many/ && $k % 3;
	my $array = 'ARRAY[' . join(', ', map { "'$_'" } reverse @ids) . ']::uuid[]';
	$sql = "SELECT id, 'assigned' FROM assign_fate('$ids[0]', $swap, $request)" if $kind eq 'assign_fate';
	$sql = "SELECT '$ids[0]', outcome FROM try_assign_fate('$ids[0]', $swap, $request)" if $kind eq 'try_assign_fate';
	$sql = "SELECT id, 'assigned' FROM compare_and_swap(NULL::petition_submissions, '$ids[0]', $swap, $request)" if $kind eq 'compare_and_swap';
	$sql = "SELECT submission_id, outcome FROM assign_fates($array, $swap, $request)" if $kind eq 'assign_fates';
	$sql = "SELECT key, outcome FROM compare_and_swap_many(NULL::petition_submissions, $array, $swap, $request)" if $kind eq 'compare_and_swap_many';
	return { kind => $kind, ids => \@ids, sql => $sql, fate => $fate };
}

my %session;

sub disconnect
{
	return unless %session;
	kill 'KILL', $session{pid};
	close $session{in};
	close $session{out};
	waitpid $session{pid}, 0;
	%session = ();
	return;
}

# Sends SQL to the server; returns the lines of the answer, or nothing if it was
# lost; *sent is whether there was a server. broken: the connection breaks after so
# many microseconds.
sub send_call
{
	my ($sql, $broken, $sent) = @_;
	my @lines;

	$$sent = 1;
	$session{pid} = open2($session{out}, $session{in}, 'exec psql -XqAt -v VERBOSITY=sqlstate -f - "$CONNECTION" 2>&1')
	  unless %session;
	print { $session{in} } "$sql;\n\\echo answered\n";
	$session{in}->flush;
	if (defined $broken)
	{
		usleep($broken);
		disconnect();
		return;
	}
	while (defined(my $line = readline $session{out}))
	{
		chomp $line;
		# psql may go on without a server
		last if $line eq 'answered' && grep { /server closed the connection/ } @lines;
		return \@lines if $line eq 'answered';
		push @lines, $line;
	}
	$$sent = !grep { /^psql: error: connection/ } @lines;
	disconnect();
	return;
}

# Makes calls, and sends each again until it is answered. Writes down for each of its
# petitions what it was told, and when the last attempt began.
sub run_client
{
	my ($client) = @_;
	my $level = ('read committed', 'repeatable read', 'serializable')[ $client % 3 ];

	srand($$);
	local $SIG{PIPE} = 'IGNORE';
	local $ENV{CONNECTION} = $node->connstr('postgres') . ' application_name=client';
	local $ENV{PGOPTIONS} = '-c default_transaction_isolation=' . $level =~ s/ /\\ /r;
	open my $notes, '>', "$folder/client_$client.out" or die $!;
	$notes->autoflush;
	for my $k (0 .. $calls - 1)
	{
		my $call = call($client, $k);
		my $lost = 0;
		my $doubled = rand() < 0.1;    # somebody clicks twice

		last if -e "$folder/stop";
		die 'the test is gone' if getppid() != $parent;
		while (1)
		{
			my $began = time;
			my $sent;
			my $answer = send_call($call->{sql}, rand() < 0.15 ? int(rand(4000)) : undef, \$sent);

			if (!$answer)
			{
				$lost += $sent;
				usleep(5000) unless $sent;
				next;
			}
			# a backend may be terminated when it has answered
			my @lines = grep { !/(FATAL|WARNING):\s+57P0/ } @$answer;

			# the real 40001 asks for the call to be sent again
			if (grep { /ERROR:\s+40001/ } @lines) { print $notes "serialization\n"; next; }
			if (grep { /ERROR:\s+PF00[12]$/ } @lines) { print $notes join('|', 'told', $client, $k, $call->{ids}[0], 'lost', $lost, $began), "\n"; }
			elsif (grep { !/^[0-9a-f-]{36}\|\w+$/ } @lines or @lines != @{ $call->{ids} }) { print $notes "trouble|$client|$k|", join(' ', @lines), "\n"; }
			else
			{
				for (@lines)
				{
					my ($id, $outcome) = split /\|/;
					my $what = $outcome eq 'assigned' ? $outcome : $outcome =~ /^(concurrent_modification|already_fated)$/ ? 'lost' : "trouble $outcome";

					print $notes join('|', 'told', $client, $k, $id, $what, $lost, $began), "\n";
				}
			}
			last unless $doubled;
			$doubled = 0;
		}
		print $notes "end|$client|$k|$call->{kind}|$lost\n";
	}
	print $notes "stopped\n";
	disconnect();
	return;
}

# --- The faults -------------------------------------------------------------------

my @pids;
for my $client (1 .. $clients)
{
	my $pid = fork // die $!;

	if ($pid == 0)
	{
		alarm $PostgreSQL::Test::Utils::timeout_default;
		eval { run_client($client) };
		print STDERR "client $client: $@" if $@;
		# nothing of the parent's is to be cleaned up
		POSIX::_exit($@ ? 1 : 0);
	}
	push @pids, $pid;
}

my $terminated = 0;

# Asks the server, which may be restarting, until it answers.
sub ask
{
	my ($sql) = @_;
	my ($out, $err);

	for (1 .. 1000)
	{
		return $out =~ s/\s+$//r
		  if IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql ], '<', '/dev/null', '>', \$out, '2>', \$err);
		usleep(10_000);
	}
	die "the server does not answer: $err";
}

# Terminates backends of clients at random moments for so many seconds.
sub terminate_some
{
	my ($seconds) = @_;
	my $until = time + $seconds;

	while (time < $until)
	{
		usleep(10_000 + int(rand(40_000)));
		$terminated += ask(q{SELECT count(pg_terminate_backend(pid)) FROM
			(SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY state = 'active' DESC, random() LIMIT 2) a});
	}
	return;
}

for my $cycle (1 .. $cycles)
{
	terminate_some(0.4 + rand(0.6));
	kill_server($node);
	$node->start;
	terminate_some(0.4 + rand(0.6));
	# one backend, at work if there is one that is
	my $backend = ask(q{SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY state = 'active' DESC, random() LIMIT 1});
	kill 'KILL', $backend if $backend;
	ask('SELECT 1');
}
terminate_some(0.5);
append_to_file("$folder/stop", '');

my $failed = 0;
for (@pids)
{
	waitpid $_, 0;
	$failed++ if $?;
}
is($failed, 0, 'every client came to the end of its last call');

# --- What they were told, and what is stored --------------------------------------

my (%told, %kinds, @trouble);
my %figures = map { $_ => 0 } qw(calls lost_answers serialization assigned lost denied unrecorded found doubled);

for my $client (1 .. $clients)
{
	for my $line (split /\n/, slurp_file("$folder/client_$client.out"))
	{
		my ($what, @fields) = split /\|/, $line;

		if ($what eq 'told') { push @{ $told{"request $fields[0]/$fields[1]"}{ $fields[2] } }, { outcome => $fields[3], lost => $fields[4], began => $fields[5] }; }
		elsif ($what eq 'serialization') { $figures{serialization}++; }
		elsif ($what eq 'end')
		{
			$figures{calls}++;
			$figures{lost_answers} += $fields[3];
			$kinds{ $fields[2] }++ if $fields[3];
		}
		elsif ($what ne 'stopped') { push @trouble, $line; }
	}
}
my %ledger = map { my ($id, @fields) = split /\|/; $id => \@fields } split /\n/,
  $node->safe_psql('postgres', 'SELECT id, request_id, fate, extract(epoch FROM assigned_at) FROM petition_submissions_fates');
my $own = 0;

for my $request (keys %told)
{
	my ($client, $k) = $request =~ m{(\d+)/(\d+)};
	my $call = call($client, $k);

	push @trouble, "$request: " . keys(%{ $told{$request} }) . ' petitions' if keys %{ $told{$request} } != @{ $call->{ids} };
	for my $id (keys %{ $told{$request} })
	{
		my ($by, $fate, $at) = @{ $ledger{$id} // [ '', '', 0 ] };
		my $mine = $by eq $request && $fate eq $call->{fate};

		for my $told (@{ $told{$request}{$id} })
		{
			if ($told->{outcome} eq 'assigned')
			{
				$figures{assigned}++;
				$figures{unrecorded}++ unless $mine;
				$figures{found}++ if $told->{lost} && $at < $told->{began};
			}
			elsif ($told->{outcome} eq 'lost')
			{
				$figures{lost}++;
				$figures{denied}++ if $mine || $by eq '';
				$own++ if $id eq petition($client, 3 * $k) || $id !~ /^0{8}-0000-0000-0000-/;
			}
			else { push @trouble, "$request $id: $told->{outcome}"; }
		}
		$figures{doubled}++ if @{ $told{$request}{$id} } > 1;
	}
}

is_deeply([ @trouble[ 0 .. ($#trouble > 9 ? 9 : $#trouble) ] ], [], 'nothing else was told');
is($figures{denied}, 0, 'no client was told that it lost a decision that it had won, or that nobody made');
is($figures{unrecorded}, 0, 'each "assigned" is in the ledger under its request');
is($own, 0, 'and what nobody else wants is assigned');
is($node->safe_psql('postgres', q{SELECT count(*) FROM petition_submissions_fates WHERE request_id IS NULL}), 0, 'the ledger has the request of each fate');
is($node->safe_psql('postgres', q{SELECT count(*) FROM verify_fates('petition_submissions')}), 0, 'verify_fates finds nothing');
is(scalar(grep { my ($by) = @{ $ledger{$_} }; !$told{$by} || !$told{$by}{$_} } keys %ledger), 0, 'and each fate in the ledger was told to its client');
cmp_ok($figures{calls}, '>', 300, "there was load: $figures{calls} calls");
cmp_ok($figures{lost_answers}, '>', 100, "$figures{lost_answers} answers were lost");
cmp_ok($figures{found}, '>', 20, "$figures{found} times the lost answer had been \"assigned\"");
is(scalar(keys %kinds), 5, 'of calls of each function');

diag("figures: $figures{calls} calls, $figures{lost_answers} answers lost (by $cycles kills of the server, $cycles of a backend, $terminated terminations, and broken connections): "
	  . "$figures{assigned} assigned, $figures{found} of them by an attempt whose answer was lost; $figures{lost} lost to others; $figures{denied} denied, $figures{unrecorded} unrecorded");

$node->stop;
done_testing();
