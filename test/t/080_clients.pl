# The clients of examples/clients: each README's commands are run and print what it shows;
# each decision that is lost is sent once; and decide() sends one again after class 40,
# 08 and 57P, and after nothing else, also where its answer was lost after the commit. The
# values programs, whose output the READMEs show too, are about keys and values of each type:
# what is refused is refused before it is sent, so the server's log has no more errors than
# these expect. A language whose packages are not here is left out, by name.
#
# To write what is printed now into the READMEs: CLIENTS=write prove test/t/080_clients.pl

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use IO::Select;
use IO::Socket::INET;
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path("$FindBin::Bin/../..");

# How a client is found to be there, what its demo is run with, and how many errors its values
# program meets for nulls: 22004, and 22023 as a part of a key. The second entry of Python is a
# part of its README.
my @clients = (
	{ name => 'python', here => 'python3 -c "import psycopg"', decide => 'python3 demo.py decide', nulls => [ 3, 1 ] },
	{ name => 'python', what => 'python, async', here => 'python3 -c "import psycopg"', decide => 'python3 demo.py decide_async' },
	{ name => 'node', here => 'node -e "require(\'pg\')"', decide => 'node demo.js decide', nulls => [ 6, 2 ] },
	{
		name => 'java',
		here => 'command -v javac && test -e /usr/share/java/postgresql.jar -a -e /usr/share/java/gson.jar',
		decide => 'java Demo decide',
		nulls => [ 3, 1 ]
	},
	{
		name => 'go',
		here => 'command -v go && test -e /usr/share/gocode/src/github.com/lib/pq',
		decide => './demo decide',
		nulls => [ 9, 4 ]
	});
my %part_here = (demo_sqlalchemy =>
	  q{python3 -c "import importlib, sqlalchemy; importlib.import_module('psycopg2' if sqlalchemy.__version__ < '2' else 'psycopg')"});

# The errors of the demo: each is met once, and Python's repository, its program and its
# second part meet one more each.
my %lost = (PF001 => 1, PF002 => 1, PF003 => 1, PF004 => 1, PF005 => 1, PF007 => 1);

my $node = PostgreSQL::Test::Cluster->new('clients');
$node->init;
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nlog_line_prefix = '%e '\nlog_min_messages = warning\n");
$node->start;
$node->psql('postgres', 'CREATE ROLE postgres SUPERUSER LOGIN');

my $folder = PostgreSQL::Test::Utils::tempdir();
mkdir "$folder/bin";
mkdir "$folder/home";
symlink '/usr/bin/python3', "$folder/bin/python3";    # Debian's, which has Debian's modules
local %ENV = (%ENV, PGHOST => '127.0.0.1', PGPORT => $node->port, PGUSER => 'postgres', PGSSLMODE => 'disable', TZ => 'UTC',
	PATH => "$folder/bin:$ENV{PATH}", HOME => "$folder/home", GOPROXY => 'off', PYTHONDONTWRITEBYTECODE => '1');
delete @ENV{qw(PGDATABASE PGAPPNAME)};
$ENV{NODE_PATH} = join ':', grep { defined } $ENV{NODE_PATH}, '/usr/share/nodejs';

# Runs commands in a folder; returns whether they succeeded, and what they printed.
sub shell
{
	my ($where, $commands) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'bash', '-ec', "cd '$where'\n$commands" ], '<', '/dev/null', '>', \$out, '2>', \$err, IPC::Run::timeout(60));

	return ($ok, $out, $err);
}

# Counts the SQLSTATEs of the errors in the server's log from an offset on.
sub errors_since
{
	my ($offset) = @_;
	my $log = slurp_file($node->logfile, $offset);
	my %count;

	$count{$1}++ while $log =~ /^(\w{5}) (?:ERROR|FATAL): /mg;
	return \%count;
}

# --- A connection whose answer is lost ------------------------------------------

# Answers a new connection as a server does that is not ready for it, and closes it.
sub refuse
{
	my ($client, $message) = @_;
	my $body = "SFATAL\0VFATAL\0C57P03\0M$message\0\0";
	my $data = '';

	while (sysread($client, $data, 65536) && length $data == 8)
	{
		syswrite $client, 'N';    # no encryption
	}
	syswrite $client, 'E' . pack('N', 4 + length $body) . $body;
	close $client;
	return;
}

# Starts a proxy, which hands on all but one answer: that of the first transaction whose
# messages contain the marker, once it has been committed. Then it closes both sides. Returns its
# port and process; its file gets a line for each connection that had the marker. With
# refusals, the first connections get these instead, and no answer is lost.
sub start_proxy
{
	my ($marker, $file, @refusals) = @_;
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
	my $process = fork() // die "fork: $!";

	return ($listener->sockport, $process) if $process;

	# The framework's handler dies, and then its END stops the server (from PostgreSQL 17 on).
	local $SIG{TERM} = 'DEFAULT';

	my $lost = @refusals > 0;
	while (my $client = $listener->accept)
	{
		if (@refusals)
		{
			append_to_file($file, "refused\n");
			refuse($client, shift @refusals);
			next;
		}
		my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->port, Proto => 'tcp') or die "connect: $!";
		my $select = IO::Select->new($client, $server);
		my ($marked, $answer) = (0, '');

		CONNECTION: while (1)
		{
			for my $from ($select->can_read)
			{
				sysread($from, my $data, 65536) or last CONNECTION;
				if ($from == $client)
				{
					append_to_file($file, "marked\n") if !$marked && $data =~ /$marker/ && ($marked = 1);
					syswrite $server, $data;
					next;
				}
				$answer .= $data;
				next if $marked && !$lost && $answer !~ /Z\0{3}\x05[ITE]\z/;
				if ($marked && !$lost && $answer =~ /Z\0{3}\x05I\z/)    # ready, in no transaction
				{
					$lost = 1;
					append_to_file($file, "lost\n");
					last CONNECTION;
				}
				syswrite $client, $answer;
				$answer = '';
			}
		}
		close $_ for $client, $server;
	}
	POSIX::_exit(0);
}

# --- What its README shows --------------------------------------------------------

# Runs the commands of a README, each block of which is followed by what it prints.
sub run_readme
{
	my ($name) = @_;
	my $file = "$top/examples/clients/$name/README.md";
	my $readme = slurp_file($file);
	my $before = '';
	my $blocks = 0;
	my $written = $readme;

	while ($readme =~ /^```sh\n(.*?)^```\n\n```text\n(.*?)^```\n/msg)
	{
		my ($commands, $shown) = ($1, $2);
		my ($part) = grep { index($commands, $_) >= 0 } keys %part_here;

		if ($part && !(shell($folder, $part_here{$part}))[0])
		{
			note("$name: $part is left out, whose packages are not here");
			next;
		}
		my ($ok, $out, $err) = shell("$folder/clients/$name", "$before$commands");
		ok($ok, "$name: the commands of its README succeed") or diag($err);
		is($out, $shown, "$name: and print what it shows");
		$written =~ s/\Q$commands\E```\n\n```text\n\K\Q$shown\E(?=```\n)/$out/;
		$before = join '', grep { /^export / } map { "$_\n" } split /\n/, $commands if !$blocks++;
	}
	cmp_ok($blocks, '>=', 1, "$name: the README has commands");
	if (($ENV{CLIENTS} // '') eq 'write' && $written ne $readme)
	{
		open my $out, '>', $file or die "$file: $!";
		print $out $written;
		close $out;
	}
	return $before;
}

# --- What is sent again -------------------------------------------------------------

# A row is open, and meets its fault as long as it was tried fewer than tries times.
# Sequences do not roll back.
my $faults = q{
	CREATE TABLE faults (id integer PRIMARY KEY, state text NOT NULL DEFAULT 'open', fault text, times integer);
	SELECT govern('faults', '{"open": ["held", "won"], "held": ["lost"]}');
	CREATE SEQUENCE tries;
	CREATE FUNCTION meet_fault() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('tries') <= old.times THEN
			IF old.fault = '57P01' THEN
				PERFORM pg_terminate_backend(pg_backend_pid());
				PERFORM pg_sleep(60);
			END IF;
			RAISE EXCEPTION 'a fault' USING ERRCODE = old.fault;
		END IF;
		RETURN new;
	END $$;
	CREATE TRIGGER meet_fault BEFORE UPDATE ON faults FOR EACH ROW EXECUTE FUNCTION meet_fault();
};

# What becomes of a fault that is met a number of times: how often the decision is
# tried, and whether it succeeds.
my @faults = (
	[ '40001', 2, 3, 1 ], [ '40P01', 1, 2, 1 ], [ '08006', 1, 2, 1 ], [ '57P01', 1, 2, 1 ], [ '57P03', 1, 2, 1 ],
	[ '40001', 99, 5, 0 ],
	map { [ $_, 1, 1, 0 ] } qw(23514 25006 53300 55P03 57014 PF001));

sub test_faults
{
	my ($what, $decide) = @_;
	my $number = 0;
	my $sql = $faults;

	$node->safe_psql('clients', $faults . "INSERT INTO faults (id, fault, times) VALUES "
		  . join(', ', map { my $n = ++$number; "($n, '$_->[0]', $_->[1])" } @faults) . "; INSERT INTO faults (id) VALUES (100), (101), (102), (103), (104)");
	for my $n (1 .. @faults)
	{
		my ($fault, $times, $tries, $succeeds) = @{ $faults[ $n - 1 ] };

		$node->safe_psql('clients', q{SELECT setval('tries', 1, false)});
		my ($ok, $out, $err) = $decide->("faults $n open won fault-$n");
		is($node->safe_psql('clients', "SELECT last_value, state, (SELECT count(*) FROM faults_fates f WHERE f.id = $n) FROM tries, faults WHERE id = $n"),
			$succeeds ? "$tries|won|1" : "$tries|open|0", "$what: a decision that meets $fault $times times is sent $tries times") or diag($out, $err);
		is(($ok ? 'success ' : 'failure ') . $out, $succeeds ? "success won\n" : 'failure ', "$what: and the caller is told what became of it") or diag($err);
	}

	# Who has lost is told so once.
	is(($decide->("faults 100 open won first"))[1], "won\n", "$what: a decision");
	for ([ 'PF002', 'faults 100 open won second' ], [ 'PF001', 'faults 101 held lost third' ],
		[ 'PF003', 'faults 101 open lost fourth' ], [ 'PF004', 'faults 999 open won fifth' ])
	{
		my ($state, $arguments) = @$_;
		my $offset = -s $node->logfile;
		my ($ok, $out, $err) = $decide->($arguments);
		my %name = (PF001 => 'concurrent', PF002 => 'already', PF003 => 'transition', PF004 => 'found');

		ok(!$ok, "$what: $state is a failure");
		like($err, qr/$name{$state}/i, "$what: of its own kind");
		is_deeply(errors_since($offset), { $state => 1 }, "$what: $state is not sent again");
	}

	# The answer to a decision is lost when it has been committed.
	my ($port, $proxy) = start_proxy('faults', my $file = "$folder/connections of $what");
	my $offset = -s $node->logfile;
	my ($ok, $out, $err);
	{
		local $ENV{PGPORT} = $port;
		($ok, $out, $err) = $decide->('faults 102 open won request-lost');
	}
	kill 'TERM', $proxy;
	waitpid $proxy, 0;
	is($out, "won\n", "$what: a decision whose answer was lost") or diag($err);
	is(slurp_file($file), "marked\nlost\nmarked\n", "$what: is sent again, once");
	is_deeply(errors_since($offset), {}, "$what: without an error");
	is($node->safe_psql('clients', q{SELECT fate, request_id FROM faults_fates WHERE id = 102}), 'won|request-lost', "$what: and stands, with its request");

	# The server is not ready for connections.
	($port, $proxy) = start_proxy('faults', $file = "$folder/refusals of $what",
		map { "the database system is $_" } 'starting up', 'shutting down', 'in recovery mode', 'not yet accepting connections');
	{
		local $ENV{PGPORT} = $port;
		($ok, $out, $err) = $decide->('faults 103 open won after-refusals');
	}
	kill 'TERM', $proxy;
	waitpid $proxy, 0;
	is($out, "won\n", "$what: a decision while the server is not ready") or diag($err);
	is(slurp_file($file), "refused\n" x 4 . "marked\n", "$what: is tried until it is");

	# What the server will always refuse is tried once.
	$offset = -s $node->logfile;
	($ok, $out, $err) = $decide->('faults 104 open won nowhere', "export PGDATABASE=nowhere\n");
	ok(!$ok, "$what: a decision in a database that there is not");
	is_deeply(errors_since($offset), { '3D000' => 1 }, "$what: is tried once") or diag($err);
	$node->safe_psql('clients', 'SELECT ungovern($$faults$$); DROP TABLE faults, faults_fates; DROP SEQUENCE tries; DROP FUNCTION meet_fault()');
	return;
}

# --- All of them ---------------------------------------------------------------------

my (%before, @run, @missing);

system('cp', '-r', "$top/examples/clients", $folder) == 0 or die 'cp';
for my $client (@clients)
{
	my $name = $client->{name};
	my $what = $client->{what} // $name;

  SKIP:
	{
		if (!(shell($folder, $client->{here}))[0])
		{
			push @missing, $what;
			skip "$what: its packages are not here", 1;
		}
		push @run, $what;
		if (!defined $before{$name})
		{
			my $offset = -s $node->logfile;

			$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS clients (FORCE)');
			$before{$name} = run_readme($name);
			my $errors = errors_since($offset);
			my $more = $name ne 'python' ? 0 : (shell($folder, $part_here{demo_sqlalchemy}))[0] ? 3 : 2;
			# The values program of Python runs that often, too.
			my $runs = $more || 1;
			my ($null, $null_part) = @{ $client->{nulls} };
			is_deeply(
				$errors,
				{
					%lost,
					PF001 => $lost{PF001} + 4 * $runs,
					PF002 => $lost{PF002} + $more,
					PF005 => $lost{PF005} + $runs,
					22004 => $null * $runs,
					22023 => $null_part * $runs,
					'57P01' => $name eq 'python' ? 2 : 1
				},
				"$name: each error of the demo is met once, and those of the values");
			ok((shell("$folder/clients/go", 'go build -o demo .'))[0], 'go: the demo is built') if $name eq 'go';
		}
		test_faults($what, sub { shell("$folder/clients/$name", $before{$name} . ($_[1] // '') . "$client->{decide} $_[0]") });
	}
}
diag('figures: run: ' . (join(', ', @run) || 'none') . (@missing ? '; no packages for: ' . join(', ', @missing) : ''));
$node->stop('fast');
done_testing();
