#!/usr/bin/perl
# Measures, on the server that PGHOST names, and prints each measurement as a
# line of six fields, tabs between them: workload, variant, round, contender,
# calls a second, microseconds of CPU a call.
#
#   bench/run.pl [--quick] [--huge] [workload ...]
#   bench/run.pl --instructions [contender ...]
#
# The contenders of a workload are the SQL files in a folder. In each round
# every one of them runs once, in the order of their names. The first line of a
# file is its title. Beside NAME.sql there may be NAME.setup.sql, which creates
# the tables, in a schema of the contender's own; without it petitions.sql does.
# In a contender's SQL :id is the petition of the call, and :ids an array of
# 1,000 of them.
#
# In the workloads turns, untouched and growth all contenders share their
# sessions and take turns of some calls each. They tell the microseconds of a
# call as its client sees them, in place of CPU, and their ratios differ little
# from round to round.
#
# The CPU is that of the server's backends alone, to the nanosecond, as Linux
# accounts for it: each backend notes it, and the time, after some calls that
# warm it up and again at its end. It needs a superuser, for pg_read_file.

use strict;
use warnings;
use File::Basename qw(basename dirname);
use List::Util qw(max sum0);

my $bench = dirname($0);
my $scratch = $ENV{TMPDIR} || '/tmp';
my $turn = 10;    # calls that a contender makes before the next one has its turn
my $warm = 10;    # calls before the first note: the fifth execution settles a plan
my %option;
my $slot = 0;
$| = 1;

sub progress { print STDERR @_, "\n" }

# Executes SQL as a script of psql; returns what it printed.
sub sql {
    my ($script) = @_;
    my $file = "$scratch/bench.sql";
    open my $out, '>', $file or die "$file: $!";
    print $out "SET client_min_messages = warning;\n$script";
    close $out;
    my $printed = qx(psql -qAtX -v ON_ERROR_STOP=1 -f '$file');
    die "psql failed on: $script\n" if $?;
    return $printed;
}

# Where backends note what CPU they have used.
sub create_stamps {
    my $cpu = -r '/proc/self/schedstat'
      ? q{split_part(pg_read_file('/proc/self/schedstat', 0, 1000, true), ' ', 1)::bigint}
      : q{(SELECT 10000000 * (f[12]::bigint + f[13]::bigint) FROM regexp_split_to_array(
            regexp_replace(pg_read_file('/proc/self/stat', 0, 10000, true), '.*\) ', ''), ' ') AS f)};
    sql(<<"END");
CREATE EXTENSION IF NOT EXISTS petition_cas;
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.stamps (slot int, client int, cpu bigint, at timestamptz);
CREATE FUNCTION bench.stamp(slot int, client int) RETURNS void LANGUAGE sql VOLATILE AS
    \$\$ INSERT INTO bench.stamps SELECT slot, client, $cpu, clock_timestamp() \$\$;
END
}

# Returns calls a second and microseconds of CPU a call from the notes of a
# slot in which each client made so many calls between its first and last note.
sub read_stamps {
    my ($clients, $calls) = @_;
    my ($found, $rate, $cpu) = split /\|/, sql(<<"END");
SELECT count(*), sum($calls / seconds), sum(cpu) / 1000.0 / ($calls * count(*))
FROM (SELECT extract(epoch FROM max(at) - min(at)) AS seconds, max(cpu) - min(cpu) AS cpu
      FROM bench.stamps WHERE slot = $slot GROUP BY client) AS c;
END
    die "$found of $clients clients have come to the end\n" if $found != $clients;
    return ($rate, $cpu);
}

sub print_result {
    my ($workload, $variant, $round, $contender, $rate, $cpu) = @_;
    printf "%s\t%s\t%d\t%s\t%.6g\t%.6g\n", $workload, $variant, $round, $contender->{title}, $rate, $cpu;
}

# Returns the contenders in a folder, or those of them that are named.
sub contenders {
    my ($folder, @names) = @_;
    my @found;
    for my $file (sort glob "$bench/$folder/*.sql") {
        my $name = basename($file, '.sql');
        next if $file =~ /\.setup\.sql$/ or @names && !grep { $_ eq $name } @names;
        open my $in, '<', $file or die "$file: $!";
        my ($title, @body) = <$in>;
        $title =~ s/^--\s*|\s+$//g;
        my $setup = -e "$bench/$folder/$name.setup.sql" ? "$bench/$folder/$name.setup.sql" : "$bench/petitions.sql";
        push @found, { name => $name, schema => "bench_$name", title => $title, body => join('', @body), setup => $setup };
    }
    return @found;
}

# Creates a contender's schema anew, and runs SQL in it.
sub set_up {
    my ($contender, $fill) = @_;
    sql(<<"END");
SET client_min_messages = error;
DROP SCHEMA IF EXISTS $contender->{schema} CASCADE;
CREATE SCHEMA $contender->{schema};
SET search_path = $contender->{schema}, public;
\\o /dev/null
\\i $contender->{setup}
$fill
VACUUM ANALYZE;
END
}

# So many petitions to be decided, in the order of their ids.
sub petitions {
    my ($rows) = @_;
    return <<"END";
INSERT INTO petition_submissions (id, text, submitter_id, state)
SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n,
    gen_random_uuid(), 'DELIBERATING'
FROM generate_series(1, $rows) AS n;
END
}

# The petitions in batches of 1,000, each batch from all over the table.
sub batches {
    return <<'END';
CREATE TABLE batches (nr int PRIMARY KEY, ids uuid[]);
INSERT INTO batches SELECT (r - 1) / 1000 + 1, array_agg(id ORDER BY md5(id::text))
FROM (SELECT id, row_number() OVER (ORDER BY md5(reverse(id::text))) AS r FROM petition_submissions) AS p GROUP BY 1;
END
}

# The line of a script that sets :n to the petition of a call, which is counted
# from 0: the next one of the table, or of a permutation of it.
sub choose_petition {
    my ($call, %run) = @_;
    my $number = "$run{offset} + $call + 1";
    $number = "permute($number - 1, $run{among}, 42) + 1" if $run{random};
    $number = "2 * ($number)" if $run{every_second};
    return "\\set n $number\n";
}

# Writes a contender's SQL as a script for pgbench, in which :i counts the calls
# of a client from 1 on. Each call is on a petition of its own that no call has
# touched before: the next one of the table, or the next one of a permutation of
# it. shared: all clients go over the same petitions instead.
sub write_script {
    my ($contender, $before, $after, %run) = @_;
    my $call = $run{shared} ? '(:i - 1)' : "((:i - 1) * $run{clients} + :client_id)";
    my $choose = choose_petition($call, %run);
    my $body = $contender->{body};
    $body =~ s/:id\b/lpad(:n::text, 32, '0')::uuid/g;
    $body =~ s/:ids\b/(SELECT ids FROM batches WHERE nr = :n)::uuid[]/g;
    my $file = "$scratch/bench.pgbench";
    open my $out, '>', $file or die "$file: $!";
    print $out "\\set i :i + 1\n$choose$before$body\n$after";
    close $out;
    return $file;
}

# Runs a script and returns what pgbench printed.
sub pgbench {
    my ($contender, $file, $transactions, %run) = @_;
    local $ENV{PGOPTIONS} = "-c search_path=$contender->{schema},public -c synchronous_commit=$run{sync}";
    my $threads = $run{clients} < 2 ? 1 : 2;
    my $printed = qx(pgbench --no-vacuum --report-per-command --protocol=prepared --client=$run{clients} --jobs=$threads --transactions=$transactions --define=i=0 --file='$file' 2>&1);
    die "pgbench failed on $contender->{name}: $printed\n" if $? or $printed =~ /aborted/;
    return $printed;
}

# Runs a contender once; each client makes so many calls. Notes the result.
sub run_pgbench {
    my ($contender, %run) = @_;
    my $last = $warm + $run{calls};
    my $unit = $run{unit} || 1;
    $slot++;
    my $note = "SELECT bench.stamp($slot, :client_id);\n\\endif\n";
    my $file = write_script($contender, "\\if :i = $warm + 1\n$note", "\\if :i = $last\n$note", %run);
    pgbench($contender, $file, $last, %run);
    my ($rate, $cpu) = read_stamps($run{clients}, $run{calls});
    print_result(@run{qw(workload variant round)}, $contender, $rate * $unit, $cpu / $unit);
}

# Dies unless each contender has decided so many petitions, and recorded them
# where it keeps a ledger.
sub check_decided {
    my ($expected, @contenders) = @_;
    for my $contender (@contenders) {
        my $found = sql(<<"END");
SET search_path = $contender->{schema};
SELECT (SELECT count(*) FROM petition_submissions WHERE state = 'ACKNOWLEDGED'), (SELECT count(*) FROM petition_submissions_fates);
END
        chomp $found;
        next if $found eq "$expected|$expected" or $found eq "$expected|0" && $contender->{title} =~ /no ledger/;
        die "$contender->{title}: $found petitions are decided and recorded in place of $expected\n";
    }
}

# --- The workloads ----------------------------------------------------------

# Calls that one client makes in a slot: some tenths of a second's worth, so that
# a round is over before the machine's mood changes, but enough of them that what
# a new connection has to read first counts for little.
sub calls_for {
    my ($clients, $sync) = @_;
    my %calls = $sync eq 'on' ? (1 => 500, 8 => 200, 32 => 60) : (1 => 4000, 8 => 600, 32 => 200);
    return $calls{$clients};
}

# Rounds of a setting: many with 8 clients, whom nothing else compares.
sub rounds_for {
    my ($clients, $order) = @_;
    return $option{quick} ? 5 : $clients == 8 && $order eq 'random' ? 31 : 7;
}

# One fate a call.
sub workload_single {
    my @contenders = contenders('rivals');
    for my $order ('random', $option{quick} ? () : 'sequential') {
        my @clients = $option{quick} || $order eq 'sequential' ? (1, 8) : (1, 8, 32);
        my @settings = map { my $sync = $_; map { [ $sync, $_ ] } @clients } qw(off on);
        my $rows = sum0(map { rounds_for($_->[1], $order) * $_->[1] * ($warm + calls_for($_->[1], $_->[0])) } @settings);
        my $offset = 0;
        set_up($_, petitions($rows)) for @contenders;
        sql('CHECKPOINT');
        for my $setting (@settings) {
            my ($sync, $clients) = @$setting;
            my $calls = calls_for($clients, $sync);
            progress("single: $order ids, synchronous_commit $sync, $clients clients");
            for my $round (1 .. rounds_for($clients, $order)) {
                run_pgbench($_, workload => 'single', round => $round,
                    variant => "$order ids, synchronous_commit $sync, clients $clients",
                    clients => $clients, calls => $calls, sync => $sync,
                    offset => $offset, random => $order eq 'random', among => $rows) for @contenders;
                $offset += $clients * ($warm + $calls);
            }
        }
        check_decided($rows, @contenders);
    }
}

# The contenders take turns of so many calls in one session, again and again: a
# script in which each has its statements, headed by a SET of its schema.
sub write_turns {
    my ($contenders, %run) = @_;
    my $body = '';
    for my $contender (@$contenders) {
        $body .= "SET search_path = $contender->{schema}, public;\n";
        for my $k (0 .. $turn - 1) {
            my $call = "(((:i - 1) * $run{clients} + :client_id) * $turn + $k)";
            $body .= choose_petition($call, %run) . "$contender->{body}\n";
        }
    }
    return write_script({ body => $body }, '', '', %run);
}

# Returns the microseconds that a call of each contender took, by schema, from
# what pgbench says of the commands of such a script.
sub read_turns {
    my ($printed) = @_;
    my (%took, $schema);
    for (split /\n/, $printed) {
        my ($latency, $command) = /^\s+(\d+\.\d+)\s+(?:\d+\s+)?(\S.*)/ or next;
        if ($command =~ /^SET search_path = (\w+)/) { $schema = $1 }
        elsif (defined $schema && $command !~ /^\\/) { $took{$schema} += 1000 * $latency / $turn }
    }
    return %took;
}

# A round of turns; each client makes so many calls of each contender, times a
# turn. Notes the results; in place of CPU, what a call takes.
sub run_turns {
    my ($contenders, %run) = @_;
    my %took = read_turns(pgbench($contenders->[0], write_turns($contenders, %run), $run{calls}, %run));
    for my $contender (@$contenders) {
        my $microseconds = $took{ $contender->{schema} } or die "pgbench says nothing of $contender->{name}\n";
        print_result(@run{qw(workload variant round)}, $contender, 1e6 * $run{clients} / $microseconds, $microseconds);
    }
}

# One fate a call, one client, the contenders in turn in the same session: what
# slows the machine down for a moment slows all of them. More clients than the
# machine has CPUs would wait for each other's calls, whosever those are.
sub workload_turns {
    my @contenders = contenders('rivals');
    my %calls = (off => 300, on => 100);
    my $rounds = $option{quick} ? 5 : 11;
    my $rows = $rounds * $turn * sum0(values %calls);
    my $offset = 0;
    set_up($_, petitions($rows)) for @contenders;
    sql('CHECKPOINT');
    for my $sync (qw(off on)) {
        progress("turns: synchronous_commit $sync");
        for my $round (1 .. $rounds) {
            run_turns(\@contenders, workload => 'turns', variant => "synchronous_commit $sync, clients 1",
                round => $round, clients => 1, calls => $calls{$sync}, sync => $sync, offset => $offset, random => 1, among => $rows);
            $offset += $turn * $calls{$sync};
        }
    }
    check_decided($rows, @contenders);
}

# 1,000 fates a call, of petitions all over the table.
sub workload_bulk {
    my @contenders = contenders('bulk');
    my $calls = 40;
    my $rows = 1000 * $option{rounds} * ($warm + $calls);
    set_up($_, petitions($rows) . batches()) for @contenders;
    sql('CHECKPOINT');
    my %offset;
    for my $round (1 .. $option{rounds}) {
        progress("bulk: round $round");
        for my $contender (@contenders) {
            my $bulk = $contender->{body} =~ /:ids\b/;
            my $here = $bulk ? $calls : 5000;
            run_pgbench($contender, workload => 'bulk', round => $round, variant => 'an id',
                unit => $bulk ? 1000 : 1, clients => 1, calls => $here, sync => 'off',
                offset => $offset{$contender->{name}} || 0, random => !$bulk, among => $rows);
            $offset{$contender->{name}} += $warm + $here;
        }
    }
    check_decided($_->{body} =~ /:ids\b/ ? $rows : $offset{$_->{name}}, $_) for @contenders;
}

# 16 clients that all want to decide the same petition, then the next one.
sub workload_hot {
    my @contenders = contenders('hot');
    my $calls = 600;
    my $rows = $option{rounds} * ($warm + $calls);
    for my $sync (qw(off on)) {
        set_up($_, petitions($rows)) for @contenders;
        for my $round (1 .. $option{rounds}) {
            progress("hot: synchronous_commit $sync, round $round");
            run_pgbench($_, workload => 'hot', round => $round, variant => "synchronous_commit $sync, clients 16",
                clients => 16, calls => $calls, sync => $sync, shared => 1,
                offset => ($round - 1) * ($warm + $calls)) for @contenders;
        }
        check_decided($rows, @contenders);
    }
}

# An UPDATE that leaves the state as it is.
sub workload_untouched {
    my @contenders = contenders('untouched');
    my $rows = 100000;
    my $calls = 300;
    set_up($_, petitions($rows)) for @contenders;
    sql('CHECKPOINT');
    for my $round (0 .. 3 * $option{rounds}) {
        progress("untouched: round $round");
        run_turns(\@contenders, workload => $round ? 'untouched' : 'warm', variant => 'random ids, clients 1', round => $round,
            clients => 1, calls => $calls, sync => 'off', random => 1, among => $rows, offset => $round * $turn * $calls);
    }
}

# How the cost of a call grows with the table, of which half is decided.
sub workload_growth {
    my @contenders = contenders('rivals', '1_update', '2_update_ledger', '6_assign_fate');
    for my $rows (10000, 100000, 1000000, $option{huge} ? 10000000 : ()) {
        my $half = $rows / 2;
        my $calls = int($half / ($option{rounds} + 1) / $turn);
        $calls = 300 if $calls > 300;
        progress("growth: $rows petitions");
        set_up($_, <<"END") for @contenders;
SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO petition_submissions (id, text, submitter_id, state)
SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n,
    lpad(n::text, 32, '0')::uuid, CASE WHEN n % 2 = 0 THEN 'DELIBERATING' ELSE 'REFERRED' END
FROM generate_series(1, $rows) AS n;
INSERT INTO petition_submissions_fates
SELECT id, 'DELIBERATING', state, now(), session_user, pg_current_xact_id()
FROM petition_submissions WHERE state = 'REFERRED';
END
        sql('CHECKPOINT');
        # round 0 warms the caches
        for my $round (0 .. $option{rounds}) {
            run_turns(\@contenders, workload => $round ? 'growth' : 'warm', round => $round, variant => "petitions $rows",
                clients => 1, calls => $calls, sync => 'off', random => 1, among => $half, every_second => 1,
                offset => $round * $turn * $calls);
        }
        sql("DROP SCHEMA $_->{schema} CASCADE; CHECKPOINT") for @contenders;
    }
}

# Contenders that are one long command each, in a schema that is made for it.
sub run_long {
    my ($workload, $rows, $fill, $head) = @_;
    my @contenders = contenders($workload);
    my $rounds = $option{quick} ? 3 : 7;
    for my $round (1 .. $rounds) {
        for my $contender (@contenders) {
            progress("$workload: $contender->{title}, round $round");
            set_up($contender, $fill);
            sql('CHECKPOINT');
            $slot++;
            sql(<<"END");
$head
SET search_path = $contender->{schema}, public;
\\o /dev/null
SELECT bench.stamp($slot, 0);
$contender->{body};
SELECT bench.stamp($slot, 0);
END
            my ($rate, $cpu) = read_stamps(1, $rows);
            print_result($workload, "rows $rows", $round, $contender, $rate, $cpu);
        }
    }
    sql("DROP SCHEMA $_->{schema} CASCADE") for @contenders;
}

sub workload_copy {
    my $rows = $option{quick} ? 100000 : 1000000;
    my $file = "$scratch/bench.copy";
    sql(<<"END");
COPY (SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n, 'RECEIVED'
      FROM generate_series(1, $rows) AS n) TO '$file';
END
    run_long('copy', $rows, '', "\\set file '$file'");
    unlink $file;
}

# govern on a table of which a third of the rows is fated.
sub workload_govern {
    my $rows = $option{quick} ? 100000 : 1000000;
    run_long('govern', $rows, <<"END", '');
INSERT INTO petition_submissions (id, text, state)
SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n,
    CASE WHEN n % 3 = 0 THEN 'REFERRED' ELSE 'DELIBERATING' END
FROM generate_series(1, $rows) AS n;
END
}

# --- Instructions -----------------------------------------------------------

# Runs a contender once on a server that runs under callgrind; returns how many
# instructions its backend has executed. The profile stays, as NAME.callgrind.
sub count_instructions {
    my ($contender, $transactions, %run) = @_;
    my $note = "\\if :i = 1\nINSERT INTO bench.stamps VALUES (0, pg_backend_pid());\n\\endif\n";
    sql('TRUNCATE bench.stamps');
    pgbench($contender, write_script($contender, $note, '', %run), $transactions, %run);
    chomp(my $pid = sql('SELECT client FROM bench.stamps'));
    for (1 .. 300) {
        select undef, undef, undef, 0.2;
        open my $in, '<', "$ENV{CALLGRIND_OUT}/backend.$pid" or next;
        my ($total) = map { /^summary: (\d+)/ ? $1 : () } <$in>;
        next if !defined $total;
        rename "$ENV{CALLGRIND_OUT}/backend.$pid", "$ENV{CALLGRIND_OUT}/$contender->{name}.callgrind";
        unlink glob "$ENV{CALLGRIND_OUT}/backend.*";
        return $total;
    }
    die "callgrind has written no profile of $contender->{name}\n";
}

# Counts the instructions of a call: the difference between a short and a long
# run, so that connecting and planning do not count. It comes out the same,
# within one in a thousand, whatever else the machine does.
sub instructions {
    my @names = @_;
    for my $workload (qw(rivals bulk untouched)) {
        for my $contender (contenders($workload, @names)) {
            my $bulk = $contender->{body} =~ /:ids\b/;
            my ($first, $second) = $bulk ? (7, 10) : (100, 1000);
            my $rows = ($bulk ? 1000 : 1) * (2 * $first + $second);
            set_up($contender, petitions($rows) . batches());
            my %run = (clients => 1, sync => 'off', among => $rows, random => !$bulk);
            my $less = count_instructions($contender, $first, %run, offset => 0);
            my $more = count_instructions($contender, $first + $second, %run, offset => $first);
            my $count = ($more - $less) / $second / ($bulk ? 1000 : 1);
            progress(sprintf "%-10s %-50s %9.0f", $workload, $contender->{title}, $count);
            print_result('instructions', $workload, 1, $contender, 0, $count);
        }
    }
}

my %workloads = (
    turns => \&workload_turns, single => \&workload_single, bulk => \&workload_bulk, hot => \&workload_hot,
    untouched => \&workload_untouched, copy => \&workload_copy, growth => \&workload_growth,
    govern => \&workload_govern);
my @wanted;
for my $argument (@ARGV) {
    if ($argument =~ /^--(quick|huge|instructions)$/) { $option{$1} = 1 }
    elsif ($workloads{$argument} || $option{instructions}) { push @wanted, $argument }
    else { die "$0: there is no workload \"$argument\"\n" }
}
@wanted = qw(turns single bulk hot untouched copy govern growth) if !@wanted && !$option{instructions};
$option{rounds} = $option{quick} ? 3 : 7;
create_stamps();
if ($option{instructions}) { instructions(@wanted) }
else { $workloads{$_}->() for @wanted }
sql('DROP SCHEMA bench CASCADE');
