#!/usr/bin/perl
# Measures, on the server that PGHOST names, and prints each measurement as a
# line of six fields, tabs between them: workload, variant, round, contender,
# calls a second, microseconds of CPU a call.
#
#   bench/run.pl [--quick | --smoke | --huge] [--tables=N] [workload ...]
#   bench/run.pl --instructions [contender ...]
#
# The contenders of a workload are the SQL files in a folder. In each round
# every one of them runs once, in the order of their names. The first line of a
# file is its title. With NAME.sql there may be a NAME.setup.sql, which creates
# the tables, in a schema of the contender's own; without it petitions.sql does.
# In a contender's SQL :id is the petition of the call, and :ids an array of
# 1,000 of them. Those in bench/orders decide orders instead, :n of :tenant.
#
# Each contender has connections of its own, which last as long as a setting is
# measured. By the clock, one contender after the other has a window of some
# hundredths or tenths of a second in which its clients make their calls of the
# round, while the others sleep. So what slows the machine down for longer than
# that slows all alike.
#
# In the workloads turns, orders, untouched, seen, history, history_fate and growth the contenders share one session
# instead, and take turns of some calls each. They tell the microseconds of a
# call as its client sees them, instead of CPU, and find smaller differences.
#
# The workload ddl compares two databases instead, in which the files of
# bench/ddl have commands executed, with :n for the number of the call; --tables
# is how many governed tables there are in one of them.
#
# The CPU is that of the server's backends alone, to the nanosecond, as Linux
# accounts for it: each backend notes it, and the time, before and after its
# calls of a window. It needs a superuser, for pg_read_file.

use strict;
use warnings;
use File::Basename qw(basename dirname);
use IO::Handle;
use IPC::Open2 qw(open2);
use List::Util qw(sum0);
use Time::HiRes qw(time);

my $bench = dirname($0);
my $scratch = $ENV{TMPDIR} || '/tmp';
my $turn = 50;    # calls that a contender makes in a shared session before the next one has its turn
my %option;
my $slot = 0;
$| = 1;

# Returns the first of three sizes, or the one for --quick or for --smoke, which
# only shows that all of it works.
sub size { return $_[$option{smoke} ? 2 : $option{quick} ? 1 : 0] }

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

# Returns what the clients have noted, by slot, from one slot to another: how
# many of them came to its end, how often a second they could have all gone
# through it, the microseconds of CPU that it took each, and when the last ended.
sub read_stamps {
    my ($first, $last) = @_;
    my %found;
    for (split /\n/, sql(<<"END")) {
SELECT slot, count(*), sum(1 / seconds), sum(cpu) / 1000.0 / count(*), max(ended)
FROM (SELECT slot, extract(epoch FROM max(at) - min(at)) AS seconds, max(cpu) - min(cpu) AS cpu, extract(epoch FROM max(at)) AS ended
      FROM bench.stamps WHERE slot BETWEEN $first AND $last GROUP BY slot, client HAVING count(*) = 2) AS c
GROUP BY slot;
END
        my ($number, @figures) = split /\|/;
        @{ $found{$number} }{qw(clients rate cpu ended)} = @figures;
    }
    return %found;
}

sub print_result {
    my ($workload, $variant, $round, $contender, $rate, $cpu) = @_;
    printf "%s\t%s\t%d\t%s\t%.6g\t%.6g\n", $workload, $variant, $round, $contender->{title}, $rate, $cpu;
}

# Returns the contenders in a folder, or those of them that are named. unit is
# how many petitions a call decides, used how many calls have been made, table
# what they are rows of.
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
        my $body = join '', @body;
        push @found, { name => $name, schema => "bench_$name", title => $title, body => $body, setup => $setup,
            unit => $body =~ /:ids\b/ ? 1000 : 1, used => 0, table => $folder eq 'orders' ? 'orders' : 'petition_submissions' };
    }
    return @found;
}

# Creates a contender's schema anew, and runs SQL in it.
sub set_up {
    my ($contender, $fill) = @_;
    $contender->{used} = 0;
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

# So many orders to be decided, of ten tenants.
sub orders {
    my ($rows) = @_;
    return <<"END";
INSERT INTO orders (tenant, id, state, customer, total)
SELECT n % 10, n, 2, 'customer ' || n, n FROM generate_series(1, $rows) AS n;
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

# Returns the lines of a script for pgbench that make one call of a contender,
# on a petition that no call has touched before: the next one of the table, or
# of a permutation of it. The call's number is an expression that counts from 0.
sub write_call {
    my ($contender, $call, %run) = @_;
    my $number = "$contender->{used} + $call + 1";
    $number = "permute($number - 1, $run{among}, 42) + 1" if $run{random} && $contender->{unit} == 1;
    $number = "2 * ($number)" if $run{every_second};
    my $body = $contender->{body};
    $body =~ s/:id\b/lpad(:n::text, 32, '0')::uuid/g;
    $body =~ s/:ids\b/(SELECT ids FROM batches WHERE nr = :n)::uuid[]/g;
    my $tenant = $body =~ /:tenant\b/ ? "\\set tenant :n % 10\n" : '';
    return "\\set n $number\n$tenant$body\n";
}

# The number of a call where so many clients make one each time that :i grows.
# shared: all of them go over the same petitions.
sub call_number {
    my (%run) = @_;
    return $run{shared} ? '(:i - 1)' : "((:i - 1) * $run{clients} + :client_id)";
}

# Starts pgbench with a script in which :i counts its executions by a client
# from 1 on; returns the handle that finish_pgbench takes.
sub start_pgbench {
    my ($contender, $script, $transactions, %run) = @_;
    local $ENV{PGOPTIONS} = "-c search_path=$contender->{schema},public -c synchronous_commit=$run{sync}";
    my $file = "$scratch/$contender->{name}.pgbench";
    open my $out, '>', $file or die "$file: $!";
    print $out "\\set i :i + 1\n$script";
    close $out;
    my @command = ('pgbench', qw(--no-vacuum --report-per-command --protocol=prepared --define=i=0), "--client=$run{clients}",
        '--jobs=' . ($run{clients} < 2 ? 1 : 2), "--transactions=$transactions", "--file=$file");
    open my $running, '-|', "@command 2>&1" or die "pgbench: $!";
    return $running;
}

# Waits until pgbench is done and returns what it printed.
sub finish_pgbench {
    my ($running) = @_;
    my $printed = join '', <$running>;
    die "pgbench failed: $printed\n" if !close $running or $printed =~ /aborted/;
    return $printed;
}

# Says that each client of a contender has made so many calls.
sub count_calls {
    my ($contender, $calls, %run) = @_;
    $contender->{used} += $calls * ($run{shared} ? 1 : $run{clients});
}

# Makes each client call so many times, and returns the milliseconds it took.
sub time_calls {
    my ($contender, $calls, %run) = @_;
    my $printed = finish_pgbench(start_pgbench($contender, write_call($contender, call_number(%run), %run), $calls, %run));
    count_calls($contender, $calls, %run);
    my ($rate) = $printed =~ /^tps = ([\d.]+)/m or die "pgbench does not say its tps: $printed\n";
    return 1000 * $run{clients} * $calls / $rate;
}

# Plans a window for each contender, one after the other: the calls that each of
# its clients makes in it, when it opens and closes, in milliseconds since the
# round began, and the slot of its first round. There is twice the time
# that the calls take when they are tried.
sub plan_windows {
    my ($contenders, %run) = @_;
    my $opens = 0;
    my @windows;
    for my $contender (@$contenders) {
        my $calls = $contender->{calls} || $run{calls};
        my $closes = $opens + 20 + int(2 * time_calls($contender, $calls, %run));
        push @windows, { contender => $contender, calls => $calls, opens => $opens, closes => $closes, slot => ++$slot };
        $opens = $closes;
    }
    $slot += @windows * $run{rounds};
    return @windows;
}

# Writes the script of a contender. Its clients sleep until the window opens,
# which it does each round, and note a slot before and after their calls.
sub write_window {
    my ($window, %run) = @_;
    my $calls = $window->{calls};
    my $note = "SELECT bench.stamp($window->{slot} + :round * $run{slots}, :client_id);\n";
    my $call = write_call($window->{contender}, call_number(%run), %run);
    return <<"END";
\\if (:i - 1) % $calls = 0
\\set round (:i - 1) / $calls
SELECT greatest(0, 1e6 * ($run{start} + (:round * $run{cycle} + $window->{opens}) / 1000.0 - extract(epoch FROM clock_timestamp())))::bigint AS wait \\gset
\\sleep :wait us
$note\\endif
$call\\if :i % $calls = 0
$note\\endif
END
}

# Tells whether a client was still at work when the window closed in a round.
sub was_short {
    my ($window, $found, $round, %run) = @_;
    my $clients = $found->{clients} || 0;
    die "$clients of $run{clients} clients have come to the end\n" if $clients != $run{clients};
    return $found->{ended} > $run{start} + ($round * $run{cycle} + $window->{closes}) / 1000;
}

# Runs contenders in so many rounds of windows and notes the results. The first
# round warms them up and does not count.
sub run_windows {
    my ($contenders, %run) = @_;
    my @windows = plan_windows($contenders, %run);
    %run = (%run, slots => scalar @windows, cycle => $windows[-1]{closes}, start => sprintf '%.3f', time + 0.5 + 0.02 * @windows * $run{clients});
    my @running = map { start_pgbench($_->{contender}, write_window($_, %run), $_->{calls} * ($run{rounds} + 1), %run) } @windows;
    finish_pgbench($_) for @running;
    my %found = read_stamps($windows[0]{slot}, $slot);
    my $short = 0;
    for my $round (1 .. $run{rounds}) {
        my @here = map { $found{ $_->{slot} + $round * $run{slots} } } @windows;
        if (grep { was_short($windows[$_], $here[$_], $round, %run) } 0 .. $#windows) {
            $short++;
            next;
        }
        for my $k (0 .. $#windows) {
            my $contender = $windows[$k]{contender};
            my $unit = $contender->{unit} * $windows[$k]{calls};
            print_result(@run{qw(workload variant)}, $round, $contender, $here[$k]{rate} * $unit, $here[$k]{cpu} / $unit);
        }
    }
    progress("$short of $run{rounds} rounds do not count: a window was too short") if $short;
    count_calls($_->{contender}, $_->{calls} * ($run{rounds} + 1), %run) for @windows;
}

# Dies unless each contender has decided a row with each of its calls, and
# recorded that where it keeps a ledger.
sub check_decided {
    for my $contender (@_) {
        my $expected = $contender->{used} * $contender->{unit};
        my $found = sql(<<"END");
SET search_path = $contender->{schema};
SELECT (SELECT count(*) FROM $contender->{table} WHERE state::text IN ('ACKNOWLEDGED', '3')), (SELECT count(*) FROM $contender->{table}_fates);
END
        chomp $found;
        next if $found eq "$expected|$expected" or $found eq "$expected|0" && $contender->{title} =~ /no ledger/;
        die "$contender->{title}: $found rows are decided and recorded in place of $expected\n";
    }
}

# --- The workloads ----------------------------------------------------------

# Calls that one client makes in a window, and rounds of a setting: most where
# windows are all there is to compare the contenders by.
sub measure_of {
    my ($clients, $sync, $order) = @_;
    my %calls = $sync eq 'on' ? (1 => 200, 8 => 50, 32 => 15) : (1 => 500, 8 => 100, 32 => 30);
    return (size($calls{$clients}, $calls{$clients}, 5), size($order eq 'random' && $clients == 8 ? 161 : 21, 5, 1));
}

# One fate a call.
sub workload_single {
    my @contenders = contenders('rivals');
    for my $order (size([ 'random', 'sequential' ], ['random'], ['random'])->@*) {
        my @clients = $order eq 'random' ? size([ 1, 8, 32 ], [ 1, 8 ], [ 1, 8 ])->@* : (1, 8);
        my @settings = map { my $sync = $_; map { [ $_, $sync, measure_of($_, $sync, $order) ] } @clients } qw(off on);
        my $rows = sum0(map { my ($clients, undef, $calls, $rounds) = @$_; $clients * $calls * ($rounds + 2) } @settings);
        set_up($_, petitions($rows)) for @contenders;
        sql('CHECKPOINT');
        for (@settings) {
            my ($clients, $sync, $calls, $rounds) = @$_;
            progress("single: $order ids, synchronous_commit $sync, $clients clients");
            run_windows(\@contenders, workload => 'single', rounds => $rounds,
                variant => "$order ids, synchronous_commit $sync, clients $clients",
                clients => $clients, calls => $calls, sync => $sync, random => $order eq 'random', among => $rows);
        }
        check_decided(@contenders);
    }
}

# 1,000 fates a call, of petitions all over the table.
sub workload_bulk {
    my @contenders = contenders('bulk');
    my $rounds = size(61, 5, 1);
    my $rows = 5 * 1000 * ($rounds + 2);
    set_up($_, petitions($rows) . batches()) for @contenders;
    sql('CHECKPOINT');
    $_->{calls} = $_->{unit} > 1 ? 5 : size(500, 500, 5) for @contenders;
    progress('bulk');
    run_windows(\@contenders, workload => 'bulk', rounds => $rounds, variant => 'an id',
        clients => 1, sync => 'off', random => 1, among => $rows);
    check_decided(@contenders);
}

# 16 clients that all want to decide the same petition, then the next one.
sub workload_hot {
    my @contenders = contenders('hot');
    my $rounds = size(21, 5, 1);
    my $calls = size(100, 100, 5);
    for my $sync (qw(off on)) {
        progress("hot: synchronous_commit $sync");
        set_up($_, petitions($calls * ($rounds + 2))) for @contenders;
        run_windows(\@contenders, workload => 'hot', rounds => $rounds, variant => "synchronous_commit $sync, clients 16",
            clients => 16, calls => $calls, sync => $sync, shared => 1);
        check_decided(@contenders);
    }
}

# A fate, and what wakes those who read the ledger: by a trigger of the user's, or in a
# transaction of its own; and the indexes that reading it wants.
sub workload_outbox {
    my @contenders = contenders('outbox');
    my @settings = ([ off => 8, 200 ], [ on => 1, 400 ], [ on => 8, 300 ]);
    my $rounds = size(31, 5, 1);
    $_->[2] = size($_->[2], $_->[2], 5) for @settings;
    set_up($_, petitions(($rounds + 2) * sum0(map { $_->[1] * $_->[2] } @settings))) for @contenders;
    sql('CHECKPOINT');
    for (@settings) {
        my ($sync, $clients, $calls) = @$_;
        progress("outbox: synchronous_commit $sync, $clients clients");
        run_windows(\@contenders, workload => 'outbox', rounds => $rounds, variant => "synchronous_commit $sync, clients $clients",
            clients => $clients, calls => $calls, sync => $sync);
    }
    check_decided(@contenders);
}

# --- Turns in a shared session ----------------------------------------------

# A script in which contenders take turns of some calls each.
sub write_turns {
    my ($contenders, %run) = @_;
    my $count = @$contenders;
    my $call = "((:i - 1) / ($turn * $count) * $turn + (:i - 1) % $turn)";
    my $script = "\\set who (:i - 1) / $turn % $count\n";
    for my $k (0 .. $count - 1) {
        $script .= "\\if :who = $k\n\\if (:i - 1) % $turn = 0\nSET search_path = $contenders->[$k]{schema}, public;\n\\endif\n"
          . write_call($contenders->[$k], $call, %run) . "\\endif\n";
    }
    return $script;
}

# Returns the microseconds that a call of each contender took, by schema, from
# what pgbench says of the commands of such a script. Where the answer to a command is
# there before pgbench looks for it, the time goes to the next command of pgbench's own:
# so the \endif after the call counts too, and the one after SET does not.
sub read_turns {
    my ($printed) = @_;
    my (%took, $schema, $ends);
    for (split /\n/, $printed) {
        my ($latency, $command) = /^\s+(\d+\.\d+)\s+(?:\d+\s+)?(\S.*)/ or next;
        if ($command =~ /^SET search_path = (\w+)/) { ($schema, $ends) = ($1, 0) }
        elsif (defined $schema && ($command !~ /^\\/ || $command eq '\endif' && $ends++ == 1)) { $took{$schema} += 1000 * $latency }
    }
    return %took;
}

# A round in which contenders take so many turns each. Notes the results: what a
# call takes, instead of CPU.
sub run_turns {
    my ($contenders, %run) = @_;
    my $calls = $turn * $run{turns};
    my %took = read_turns(finish_pgbench(start_pgbench($contenders->[0], write_turns($contenders, %run),
        $calls * @$contenders, clients => 1, sync => $run{sync})));
    for my $contender (@$contenders) {
        my $microseconds = $took{ $contender->{schema} } or die "pgbench says nothing of $contender->{name}\n";
        print_result(@run{qw(workload variant round)}, $contender, 1e6 / $microseconds, $microseconds);
        $contender->{used} += $calls;
    }
}

# One fate a call, one client. In a session of its own a contender's speed
# depends on which CPUs client and backend happen to be; here they share that.
sub one_fate_in_turns {
    my ($workload, $folder, $fill) = @_;
    my @contenders = contenders($folder);
    my $rounds = size(21, 5, 1);
    my %turns = (off => size(40, 40, 1), on => size(20, 20, 1));
    my $rows = ($rounds + 1) * $turn * sum0(values %turns);
    set_up($_, $fill->($rows)) for @contenders;
    sql('CHECKPOINT');
    for my $sync (qw(off on)) {
        progress("$workload: synchronous_commit $sync");
        # round 0 warms the caches
        run_turns(\@contenders, workload => $_ ? $workload : 'warm', variant => "synchronous_commit $sync, clients 1",
            round => $_, turns => $turns{$sync}, sync => $sync, random => 1, among => $rows) for 0 .. $rounds;
    }
    check_decided(@contenders);
}

sub workload_turns { one_fate_in_turns('turns', 'rivals', \&petitions) }

# The same of a table that is not the petitions'.
sub workload_orders { one_fate_in_turns('orders', 'orders', \&orders) }

# An UPDATE that leaves the state as it is.
sub workload_untouched {
    my @contenders = contenders('untouched');
    my $turns = size(60, 60, 1);
    my $rounds = size(61, 5, 1);
    my $rows = ($rounds + 1) * $turns * $turn;
    set_up($_, petitions($rows)) for @contenders;
    sql('CHECKPOINT');
    progress('untouched');
    # round 0 warms the caches
    run_turns(\@contenders, workload => $_ ? 'untouched' : 'warm', variant => 'random ids, clients 1', round => $_,
        turns => $turns, sync => 'off', random => 1, among => $rows) for 0 .. $rounds;
}

# A transition that is kept in a history, and a fate, which is in the ledger as well. Ours
# are governed when their petitions are there: none of them begins with a history.
sub workload_history {
    my ($workload, $state) = @_ ? @_ : ('history', 'HEARD');
    my @contenders = contenders($workload);
    my $turns = size(40, 40, 1);
    my $rounds = size(21, 5, 1);
    my $rows = ($rounds + 1) * $turns * $turn;
    my $govern = q{SELECT govern('petition_submissions', '{"DELIBERATING": ["HEARD", "ACKNOWLEDGED"], "HEARD": ["ACKNOWLEDGED"]}', history => true);};
    set_up($_, petitions($rows) . ($_->{title} =~ /petition_cas/ ? $govern : '')) for @contenders;
    sql('CHECKPOINT');
    progress($workload);
    # round 0 warms the caches
    run_turns(\@contenders, workload => $_ ? $workload : 'warm', variant => 'synchronous_commit off, clients 1',
        round => $_, turns => $turns, sync => 'off', random => 1, among => $rows) for 0 .. $rounds;
    for my $contender (@contenders) {
        my $used = $contender->{used};
        my $found = sql("SELECT concat_ws('|', (SELECT count(*) FROM $contender->{schema}.petition_submissions WHERE state = '$state'),"
              . " (SELECT count(*) FROM $contender->{schema}.petition_submissions_history WHERE (from_state, to_state) = ('DELIBERATING', '$state')),"
              . " (SELECT count(*) FROM $contender->{schema}.petition_submissions_fates))");
        chomp $found;
        my $expected = join '|', $used, $used, $state eq 'HEARD' ? 0 : $used;
        die "$contender->{title}: $found are moved and recorded in place of $expected\n" if $found ne $expected;
    }
}

sub workload_history_fate { workload_history('history_fate', 'ACKNOWLEDGED') }

# So many payments, to be decided in the order of their numbers.
sub payments { return "INSERT INTO payments (id, amount) SELECT n, 1099.50 + n % 2 FROM generate_series(1, $_[0]) n;" }

# A swap that names the evidence that was seen, and the same without it.
sub workload_seen {
    my @contenders = contenders('seen');
    my $rounds = size(61, 5, 1);
    my $turns = size(60, 60, 1);
    my $rows = ($rounds + 1) * $turns * $turn;
    set_up($_, payments($rows)) for @contenders;
    sql('CHECKPOINT');
    progress('seen');
    # round 0 warms the caches
    run_turns(\@contenders, workload => $_ ? 'seen' : 'warm', variant => 'ids in order, clients 1', round => $_,
        turns => $turns, sync => 'off', among => $rows) for 0 .. $rounds;
    for my $contender (@contenders) {
        chomp(my $paid = sql("SELECT count(*) FROM $contender->{schema}.payments JOIN $contender->{schema}.payments_fates USING (id) WHERE state = 'paid';"));
        die "$contender->{title}: $paid payments are decided in place of $contender->{used}\n" if $paid != $contender->{used};
    }
}

# So many petitions, every second of which is decided. The tables are written
# anew, which leaves none of their pages in shared_buffers: otherwise the contender
# whose tables were filled last would find more of them there.
sub half_decided {
    my ($rows) = @_;
    return <<"END";
SET synchronous_commit = off;
SET session_replication_role = replica;
INSERT INTO petition_submissions (id, text, submitter_id, state)
SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n,
    lpad(n::text, 32, '0')::uuid, CASE WHEN n % 2 = 0 THEN 'DELIBERATING' ELSE 'REFERRED' END
FROM generate_series(1, $rows) AS n;
INSERT INTO petition_submissions_fates
SELECT id, 'DELIBERATING', state, now(), session_user, pg_current_xact_id()
FROM petition_submissions WHERE state = 'REFERRED';
VACUUM FULL petition_submissions;
VACUUM FULL petition_submissions_fates;
END
}

# Makes the operating system read a contender's tables and indexes, without taking
# them into shared_buffers. Otherwise what was filled last would be found in its
# cache, and what was filled first perhaps not.
sub read_files {
    my ($contender) = @_;
    sql(<<"END");
SELECT sum(pg_prewarm(oid, 'read')) FROM pg_class
WHERE relnamespace = '$contender->{schema}'::regnamespace AND relkind IN ('r', 'i');
END
}

# How the cost of a call grows with the table. The smallest is filled anew as
# often as its petitions have been used up.
sub workload_growth {
    my @contenders = contenders('rivals', '1_update', '2_update_ledger', '6_assign_fate');
    sql('CREATE EXTENSION IF NOT EXISTS pg_prewarm');
    my $rounds = size(31, 5, 1);
    my @sizes = size([ 10000, 100000, 1000000 ], [ 10000, 100000 ], [10000])->@*;
    for my $rows (@sizes, $option{huge} ? 10000000 : ()) {
        my %run = (variant => "petitions $rows", turns => size(20, 20, 1), sync => 'off', random => 1, among => $rows / 2, every_second => 1);
        progress("growth: $rows petitions");
        for my $round (1 .. $rounds) {
            if ($round == 1 || $contenders[0]{used} + $run{turns} * $turn > $rows / 2) {
                set_up($_, half_decided($rows)) for @contenders;
                sql('CHECKPOINT');
                read_files($_) for @contenders;
                run_turns(\@contenders, workload => 'warm', round => $round, %run);
            }
            run_turns(\@contenders, workload => 'growth', round => $round, %run);
        }
        sql("DROP SCHEMA $_->{schema} CASCADE; CHECKPOINT") for @contenders;
    }
}

# Contenders that are one long command each, in a schema that is made for it.
sub run_long {
    my ($workload, $rows, $fill, $head) = @_;
    my @contenders = contenders($workload);
    for my $round (1 .. size(7, 3, 1)) {
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
            my %found = read_stamps($slot, $slot);
            print_result($workload, "rows $rows", $round, $contender, $found{$slot}{rate} * $rows, $found{$slot}{cpu} / $rows);
        }
    }
    sql("DROP SCHEMA $_->{schema} CASCADE") for @contenders;
}

sub workload_copy {
    my $rows = size(1000000, 100000, 1000);
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
    my $rows = size(1000000, 100000, 1000);
    run_long('govern', $rows, <<"END", '');
INSERT INTO petition_submissions (id, text, state)
SELECT lpad(n::text, 32, '0')::uuid, 'Please mend the bridge over the river, says citizen ' || n,
    CASE WHEN n % 3 = 0 THEN 'REFERRED' ELSE 'DELIBERATING' END
FROM generate_series(1, $rows) AS n;
END
}

# --- DDL --------------------------------------------------------------------

# Two databases with the same petitions and ledgers, in ten schemas. In one of
# them the extension governs them, in the other there is no extension.
my @databases = (
    { name => 'bench_plain', title => 'without the extension' },
    { name => 'bench_governed', title => 'with the extension' });

sub sql_in {
    my ($database, $script) = @_;
    local $ENV{PGDATABASE} = $database->{name};
    return sql($script);
}

# A block that does something for each table, fifty of them in a transaction: %s
# stands for the number of the schema and for that of the table in it.
sub for_each_table {
    my ($each, $action) = @_;
    return <<"SQL";
DO \$block\$
BEGIN
    FOR s IN 0 .. 9 LOOP
        FOR n IN 1 .. $each LOOP
            $action
            IF n % 50 = 0 THEN COMMIT; END IF;
        END LOOP;
    END LOOP;
END
\$block\$;
SQL
}

# Creates both databases, with so many petitions in each of their schemas. The
# server does not wait for the disk from now on: that would take the same time
# in both.
sub create_databases {
    my ($each) = @_;
    my ($plain, $governed) = @databases;
    sql("DROP DATABASE IF EXISTS $_->{name}") for @databases;
    sql('ALTER SYSTEM SET fsync = off');
    sql("SELECT pg_reload_conf(); CREATE DATABASE $plain->{name} TEMPLATE template0");
    sql_in($plain, "\\i $bench/petitions.sql\nCREATE SCHEMA work;\n"
          . join('', map { "CREATE SCHEMA tenant$_;\n" } 0 .. 9) . for_each_table($each, <<'END'));
EXECUTE format('CREATE TABLE tenant%s.petitions%s (LIKE petition_submissions INCLUDING ALL)', s, n);
END
    sql("CREATE DATABASE $governed->{name} TEMPLATE $plain->{name}");
    sql_in($plain, for_each_table($each, <<'END'));
EXECUTE format('CREATE TABLE tenant%s.petitions%s_fates (LIKE petition_submissions_fates INCLUDING ALL)', s, n);
END
    sql_in($governed, "CREATE EXTENSION petition_cas;\n" . for_each_table($each, <<'END'));
PERFORM govern(format('tenant%s.petitions%s', s, n)::regclass, petition_lifecycle());
END
    sql_in($_, 'VACUUM ANALYZE') for @databases;
}

sub drop_databases {
    sql("DROP DATABASE $_->{name}") for @databases;
    sql('ALTER SYSTEM RESET fsync');
    sql('SELECT pg_reload_conf()');
}

# Makes a database's session execute SQL, and returns the lines that it prints.
sub execute {
    my ($database, $script) = @_;
    my ($in, $out) = @$database{qw(in out)};
    my @lines;
    print $in "$script\n\\echo done\n";
    $in->flush;
    while (defined(my $line = <$out>)) {
        chomp $line;
        return @lines if $line eq 'done';
        push @lines, $line;
    }
    die "psql failed on: $script\n";
}

# Starts a session in a database.
sub start_session {
    my ($database) = @_;
    local $ENV{PGDATABASE} = $database->{name};
    $database->{process} = open2($database->{out}, $database->{in}, qw(psql -qAtX -v ON_ERROR_STOP=1));
    execute($database, "SET search_path = work, public;\nSET client_min_messages = warning;");
}

sub end_session {
    my ($database) = @_;
    close $database->{in};
    waitpid $database->{process}, 0;
}

# The microseconds of CPU that the backend of a database's session has used.
sub backend_cpu {
    my ($database) = @_;
    my ($used) = execute($database, "SELECT split_part(pg_read_file('/proc/self/schedstat', 0, 1000, true), ' ', 1);");
    return $used / 1000;
}

# Makes both databases execute the same commands, one database after the other, and
# notes what each of them took. Round 0, which warms the caches, does not count.
# Adds up in total, which is by the databases' names.
sub run_commands {
    my ($variant, $round, $commands, $total) = @_;
    for my $database ($round % 2 ? @databases : reverse @databases) {
        my $cpu = backend_cpu($database);
        my $began = time;
        execute($database, join "\n", @$commands);
        my @figures = (scalar @$commands, time - $began, backend_cpu($database) - $cpu);
        $total->{ $database->{name} }[$_] += $figures[$_] for 0 .. 2;
        print_commands($variant, $round, $database, @figures) if $round;
    }
}

sub print_commands {
    my ($variant, $round, $database, $commands, $seconds, $cpu) = @_;
    print_result('ddl', $variant, $round, $database, $commands / $seconds, $cpu / $commands);
}

# A round of what has nothing to do with a governed table.
sub run_unrelated {
    my ($round) = @_;
    my $calls = size(40, 40, 4);
    my $total = {};
    for my $command (contenders('ddl')) {
        run_commands($command->{title}, $round, [ map { $command->{body} =~ s/:n/$_/gr } 1 .. $calls ], $total);
    }
    return if !$round;
    print_commands('all of these', $round, $_, $total->{ $_->{name} }->@*) for @databases;
}

# A round of what changes, and drops, so many of the governed tables: those of
# the last schema.
sub run_related {
    my ($round, $calls) = @_;
    my @tables = map { "tenant9.petitions" . ($round * $calls + $_) } 1 .. $calls;
    run_commands('ALTER TABLE ... ADD COLUMN, of petitions', $round, [ map { "ALTER TABLE $_ ADD COLUMN note text;" } @tables ], {});
    run_commands('DROP TABLE of petitions and their ledger', $round, [ map { "DROP TABLE $_, ${_}_fates;" } @tables ], {});
}

# DDL in databases that are full of petitions.
sub workload_ddl {
    my $each = ($option{tables} || size(5000, 1000, 100)) / 10;
    my $rounds = size(9, 5, 1);
    progress('ddl: creating 2 databases of ' . 10 * $each . ' petitions and ledgers');
    create_databases($each);
    start_session($_) for @databases;
    for my $round (0 .. $rounds) {
        progress("ddl: round $round of $rounds");
        run_unrelated($round);
    }
    run_related($_, int($each / ($rounds + 1)) || 1) for 0 .. $rounds;
    run_commands("DROP SCHEMA ... CASCADE, with $each petitions and their ledgers", $_, ["DROP SCHEMA tenant$_ CASCADE;"], {})
      for 0 .. size(5, 3, 1);
    end_session($_) for @databases;
    drop_databases();
}

# --- Instructions -----------------------------------------------------------

# Runs a contender once on a server that runs under callgrind; returns how many
# instructions its backend has executed. The profile stays, as NAME.callgrind.
sub count_instructions {
    my ($contender, $transactions, %run) = @_;
    my $note = "\\if :i = 1\nINSERT INTO bench.stamps VALUES (0, pg_backend_pid());\n\\endif\n";
    sql('TRUNCATE bench.stamps');
    finish_pgbench(start_pgbench($contender, $note . write_call($contender, call_number(%run), %run), $transactions, %run));
    count_calls($contender, $transactions, %run);
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
# within 0.1%, whatever else the machine does.
sub instructions {
    my @names = @_;
    for my $workload (qw(rivals bulk untouched orders seen)) {
        for my $contender (contenders($workload, @names)) {
            my $unit = $contender->{unit};
            my ($first, $second) = $unit > 1 ? (7, 10) : (100, 1000);
            my $rows = $unit * (2 * $first + $second);
            set_up($contender, $workload eq 'orders' ? orders($rows) : $workload eq 'seen' ? payments($rows) : petitions($rows) . batches());
            my %run = (clients => 1, sync => 'off', among => $rows, random => $workload ne 'seen');
            my $less = count_instructions($contender, $first, %run);
            my $more = count_instructions($contender, $first + $second, %run);
            my $count = ($more - $less) / $second / $unit;
            progress(sprintf "%-10s %-50s %9.0f", $workload, $contender->{title}, $count);
            print_result('instructions', $workload, 1, $contender, 0, $count);
        }
    }
}

my %workloads = (
    turns => \&workload_turns, orders => \&workload_orders, single => \&workload_single, bulk => \&workload_bulk, hot => \&workload_hot,
    outbox => \&workload_outbox, history => \&workload_history, history_fate => \&workload_history_fate, seen => \&workload_seen,
    untouched => \&workload_untouched, copy => \&workload_copy, growth => \&workload_growth,
    govern => \&workload_govern, ddl => \&workload_ddl);
my @wanted;
for my $argument (@ARGV) {
    if ($argument =~ /^--(quick|smoke|huge|instructions)$/) { $option{$1} = 1 }
    elsif ($argument =~ /^--tables=([1-9]\d*)$/) { $option{tables} = $1 }
    elsif ($workloads{$argument} || $option{instructions}) { push @wanted, $argument }
    else { die "$0: there is no workload \"$argument\"\n" }
}
@wanted = qw(turns orders single bulk hot outbox untouched seen history history_fate copy govern growth ddl) if !@wanted && !$option{instructions};
create_stamps();
if ($option{instructions}) { instructions(@wanted) }
else { $workloads{$_}->() for @wanted }
sql('DROP SCHEMA bench CASCADE');
