#!/usr/bin/perl
# Writes the report of measurements that run.pl has made.
#
#   bench/report.pl measurements.tsv results.md results.svg < preface.md
#
# The first is read; the others are written, and the tables of the second are
# printed too. Ratios are those of two contenders in the same round; given are
# their median and quartiles. Times are medians; the column after the CPU has the
# least of the rounds, which says more where the machine was not left alone.

use strict;
use warnings;
use List::Util qw(min);

my ($source, $report, $chart) = @ARGV;
my (%figures, @variants, %titles, %counts);

# Which contender of a workload the others are compared with, and what its
# tables are headed.
my %baseline = (
    turns => 'bare UPDATE with ledger row', orders => 'bare UPDATE of an order with ledger row', single => 'bare UPDATE with ledger row', bulk => 'one set-based UPDATE with ledger',
    hot => 'bare UPDATE with ledger row', outbox => 'assign_fate', untouched => 'untriggered table',
    history => 'bare UPDATE with history row', history_fate => 'bare UPDATE with ledger and history row',
    seen => 'compare_and_swap, without seen_hash',
    copy => 'untriggered table', govern => 'a ledger filled by hand', growth => 'bare UPDATE with ledger row',
    ddl => 'without the extension');
my %heading = (
    turns => 'One fate a call, the contenders in turns of fifty calls in the same session',
    orders => 'One fate a call, of a table with a key of two columns and an integer state, in turns',
    single => 'One fate a call, each contender in connections of its own', bulk => 'A thousand fates a call; figures are for one id',
    hot => '16 clients over one petition after another; figures are for one attempt',
    outbox => 'One fate a call, and its reader woken',
    untouched => 'An UPDATE that does not touch the state',
    history => 'One transition a call, kept in a history', history_fate => 'One fate a call, in ledger and history',
    seen => 'A swap of a row with three columns of evidence', copy => 'COPY; figures are for one row',
    govern => 'govern on a full table, a third of it fated; figures are for one row',
    growth => 'Growing tables, half of them fated, one client',
    ddl => 'DDL in a database full of petitions; figures are for one command');

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

sub read_measurements {
    my %seen;
    open my $in, '<', $source or die "$source: $!";
    while (<$in>) {
        chomp;
        my ($workload, $variant, $round, $title, $rate, $cpu) = split /\t/;
        if ($workload eq 'instructions') {
            push @{ $counts{$variant} }, [ $title, $cpu ];
            next;
        }
        next if !$baseline{$workload};
        $figures{$workload}{$variant}{$title}{$round} = { rate => $rate, cpu => $cpu };
        push @variants, [ $workload, $variant ] if !$seen{$workload}{$variant}++;
        push @{ $titles{$workload} }, $title if !$seen{"$workload $title"}++;
    }
}

# Median and quartiles of numbers.
sub quartiles {
    my @sorted = sort { $a <=> $b } @_;
    return (median(@sorted), $sorted[ int(@sorted / 4) ], $sorted[ -1 - int(@sorted / 4) ]);
}

# Median and quartiles of the rounds' ratios of two contenders.
sub ratio {
    my ($workload, $variant, $this, $that, $what) = @_;
    my $rounds = $figures{$workload}{$variant};
    my @ratios = map { $rounds->{$this}{$_}{$what} / $rounds->{$that}{$_}{$what} }
      grep { $rounds->{$that}{$_} } keys %{ $rounds->{$this} };
    return @ratios ? quartiles(@ratios) : ();
}

sub figure {
    my ($workload, $variant, $title, $what) = @_;
    return median(map { $_->{$what} } values %{ $figures{$workload}{$variant}{$title} });
}

sub spread {
    return sprintf '%.2f (%.2f to %.2f)', @_;
}

sub thousands {
    my $number = sprintf '%.0f', shift;
    1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
    return $number;
}

# The head of a workload's tables, and a contender's cells below it. Turns are
# measured by what a call takes, instead of CPU.
sub is_by_turns { return $_[0] =~ /^(turns|orders|untouched|seen|history|history_fate|growth)$/ }

sub table_head {
    my ($workload) = @_;
    return "| | µs a call | calls in the same time, ratio |\n|---|---:|---:|\n" if is_by_turns($workload);
    return "| | a second | CPU, µs | least CPU | throughput, ratio | CPU, ratio |\n|---|---:|---:|---:|---:|---:|\n";
}

sub table_cells {
    my ($workload, $variant, $title) = @_;
    my $than = $baseline{$workload};
    my @ratios = map { $title eq $than ? '1' : spread(ratio($workload, $variant, $title, $than, $_)) } qw(rate cpu);
    my $cpu = sprintf '%.1f', figure($workload, $variant, $title, 'cpu');
    return ($cpu, $ratios[0]) if is_by_turns($workload);
    my $least = sprintf '%.1f', min(map { $_->{cpu} } values %{ $figures{$workload}{$variant}{$title} });
    my $rate = figure($workload, $variant, $title, 'rate');
    return ($rate < 10 ? sprintf('%.1f', $rate) : thousands($rate), $cpu, $least, @ratios);
}

sub variant_table {
    my ($workload, $variant) = @_;
    my $rounds = keys %{ $figures{$workload}{$variant}{ $baseline{$workload} } };
    my $table = "**$variant** ($rounds rounds)\n\n" . table_head($workload);
    for my $title (grep { $figures{$workload}{$variant}{$_} } @{ $titles{$workload} }) {
        $table .= '| ' . join(' | ', $title, table_cells($workload, $variant, $title)) . " |\n";
    }
    return "$table\n";
}

# --- What it must show ------------------------------------------------------

my $ours = 'petition_cas: assign_fate';

# One line of the table of aims: at least (or at most) so much.
sub aim {
    my ($text, $wanted, $atmost, @found) = @_;
    return '' if !@found;
    my $middle = sprintf '%.2f', $found[0];    # as it is printed
    my $held = $atmost ? $middle <= $wanted : $middle >= $wanted;
    return sprintf "| %s | %s %s | %s | %s |\n", $text, $atmost ? 'at most' : 'at least', $wanted,
      @found > 1 ? spread(@found) : sprintf('%.2f', $found[0]), $held ? 'yes' : '**no**';
}

# Where the rivals are compared: one client in turns, several by their windows.
sub setting {
    my ($sync, $clients) = @_;
    my $setting = "synchronous_commit $sync, clients $clients";
    return $clients == 1 ? ('turns', $setting) : ('single', "random ids, $setting");
}

sub aims_of_rivals {
    my $lines = '';
    my %aims = (off => [ 0.95, 1.2, 2.5 ], on => [ 0.95, 1.05, 1.7 ]);
    my @rivals = ($baseline{single}, 'PL/pgSQL function and trigger', 'application: BEGIN, SELECT, UPDATE, INSERT, COMMIT');
    for my $sync (qw(off on)) {
        for my $clients (1, 8) {
            my @where = setting($sync, $clients);
            next if !$figures{ $where[0] };
            $lines .= aim("assign_fate against $rivals[$_]; synchronous_commit $sync, clients $clients", $aims{$sync}[$_], 0,
                ratio(@where, $ours, $rivals[$_], 'rate')) for 0 .. 2;
        }
    }
    return $lines;
}

sub aims_of_the_rest {
    my $lines = '';
    for my $sync ($figures{orders} ? qw(off on) : ()) {
        $lines .= aim("compare_and_swap of a key of two columns and an integer state against bare UPDATE with ledger row; synchronous_commit $sync, clients 1",
            0.93, 0, ratio('orders', "synchronous_commit $sync, clients 1", 'petition_cas: compare_and_swap of an order', $baseline{orders}, 'rate'));
    }
    if ($figures{bulk}) {
        my @bulk = ('bulk', 'an id', 'petition_cas: assign_fates');
        $lines .= aim('assign_fates of 1,000 against a set-based UPDATE with ledger, throughput', 0.8, 0,
            ratio(@bulk, $baseline{bulk}, 'rate'));
        $lines .= aim('compare_and_swap_many of 1,000 against a set-based UPDATE with ledger, throughput', 0.75, 0,
            ratio('bulk', 'an id', 'petition_cas: compare_and_swap_many', 'one set-based UPDATE of the state alone, with ledger', 'rate'));
        $lines .= aim('1,000 single transactions against assign_fates, CPU an id', 4, 0,
            ratio('bulk', 'an id', '1,000 transactions of assign_fate', $bulk[2], 'cpu'));
    }
    if (my $untouched = $figures{untouched}{'random ids, clients 1'}) {
        my @more = map { $untouched->{'governed table'}{$_}{cpu} - $untouched->{'untriggered table'}{$_}{cpu} }
          keys %{ $untouched->{'governed table'} };
        $lines .= aim('the guard on an UPDATE that leaves the state, µs', 1.5, 1, quartiles(@more));
        $lines .= aim('the same, as a ratio', 1.15, 1,
            ratio('untouched', 'random ids, clients 1', 'governed table', 'untriggered table', 'cpu'));
    }
    if ($figures{seen}) {
        $lines .= aim('a swap with seen_hash, over three columns, against the same without it, time', 1.1, 1,
            ratio('seen', 'ids in order, clients 1', 'compare_and_swap, with seen_hash', $baseline{seen}, 'cpu'));
    }
    if ($figures{ddl}) {
        my @unrelated = ('ddl', 'all of these', $baseline{ddl}, 'with the extension');
        $lines .= aim('DDL that has nothing to do with the governed tables around it, time', 1.2, 1, ratio(@unrelated, 'rate'));
        $lines .= aim('the same, CPU', 1.2, 1, ratio(@unrelated[0, 1, 3, 2], 'cpu'));
    }
    for my $variant (map { $_->[1] } grep { $_->[0] eq 'growth' && $_->[1] ne 'petitions 10000' } @variants) {
        my $update = 'bare UPDATE, no ledger';
        my ($small) = ratio('growth', 'petitions 10000', $ours, $update, 'cpu');
        $lines .= aim('what a call of assign_fate takes, in bare UPDATEs, against ' . ($variant =~ s/petitions (\d+)/thousands($1) . ' petitions'/er)
              . ' instead of 10,000', 1, 1, map { $_ / $small } ratio('growth', $variant, $ours, $update, 'cpu'));
    }
    return $lines;
}

sub instruction_tables {
    my $tables = '';
    for my $workload (sort keys %counts) {
        my $than = $baseline{ $workload eq 'rivals' ? 'single' : $workload };
        my ($base) = map { $_->[1] } grep { $_->[0] eq $than } @{ $counts{$workload} };
        $tables .= "**$workload**\n\n| | instructions | ratio |\n|---|---:|---:|\n";
        $tables .= sprintf "| %s | %s | %s |\n", $_->[0], thousands($_->[1]), $base ? sprintf('%.2f', $_->[1] / $base) : '' for @{ $counts{$workload} };
        $tables .= "\n";
    }
    return $tables;
}

# --- The chart --------------------------------------------------------------

sub escape {
    my ($text) = @_;
    $text =~ s/&/&amp;/g;
    $text =~ s/</&lt;/g;
    return $text;
}

# Bars of throughput relative to the baseline, a panel for each setting of
# synchronous_commit, a group for each number of clients; whiskers are the
# quartiles.
sub draw {
    my @colours = map { "#$_" } qw(9aa5b1 52606d d9822b c23030 8f398f 106ba3 48aff0 29a634);
    my @names = @{ $titles{single} };
    my ($left, $top, $panel, $height, $width) = (60, 76, 240, 180, 900);
    my $svg = '';
    for my $p (0, 1) {
        my $sync = (qw(off on))[$p];
        my $base = $top + $p * $panel + $height;
        my $scale = $height / 1.5;
        for my $grid (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5) {
            my $y = $base - $grid * $scale;
            $svg .= sprintf qq(<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s"/><text x="%d" y="%.1f" text-anchor="end">%s</text>\n),
              $left, $y, $width - 10, $y, $grid == 1 ? '#52606d' : '#e4e7eb', $left - 6, $y + 4, $grid;
        }
        $svg .= sprintf qq(<text x="%d" y="%d" font-weight="bold">synchronous_commit %s</text>\n), $left, $base - $height - 8, $sync;
        for my $c (0 .. 2) {
            my $clients = (1, 8, 32)[$c];
            my $group = $left + 20 + $c * 275;
            for my $n (0 .. $#names) {
                my ($middle, $lower, $upper) = ratio(setting($sync, $clients), $names[$n], $baseline{single}, 'rate') or next;
                my $x = $group + $n * 31;
                $svg .= sprintf qq(<rect x="%d" y="%.1f" width="26" height="%.1f" fill="%s"/>\n), $x, $base - min($middle, 1.5) * $scale,
                  min($middle, 1.5) * $scale, $colours[ $n % @colours ];
                $svg .= sprintf qq(<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#1f2933"/>\n), $x + 13, $base - min($lower, 1.5) * $scale,
                  $x + 13, $base - min($upper, 1.5) * $scale;
                $svg .= sprintf qq(<text x="%d" y="%.1f" text-anchor="middle" font-size="10" fill="#fff">%.2f</text>\n), $x + 13, $base - 5, $middle;
            }
            $svg .= sprintf qq(<text x="%d" y="%d">%d client%s</text>\n), $group + 80, $base + 16, $clients, $clients > 1 ? 's' : '';
        }
    }
    my $y = $top + 2 * $panel + 10;
    for my $n (0 .. $#names) {
        $svg .= sprintf qq(<rect x="%d" y="%d" width="12" height="12" fill="%s"/><text x="%d" y="%d">%s</text>\n),
          $left + ($n % 2) * 420, $y + int($n / 2) * 20, $colours[ $n % @colours ],
          $left + ($n % 2) * 420 + 18, $y + int($n / 2) * 20 + 11, escape($names[$n]);
    }
    my $whole = $y + 20 * int((@names + 1) / 2) + 10;
    open my $out, '>', $chart or die "$chart: $!";
    print $out <<"END";
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $whole" width="$width" height="$whole" font-family="sans-serif" font-size="12" fill="#1f2933">
<rect width="$width" height="$whole" fill="#fff"/>
<text x="$left" y="24" font-size="16" font-weight="bold">Throughput relative to a bare UPDATE with its ledger row</text>
<text x="$left" y="40" fill="#52606d">medians of the rounds' ratios, random ids; lines show the quartiles</text>
$svg</svg>
END
    close $out;
}

read_measurements();
my $text = '';
my $aims = aims_of_rivals() . aims_of_the_rest();
$text .= "## What it must show\n\n| | wanted | measured | held |\n|---|---|---|---|\n$aims\n" if $aims;
my $last = '';
for (@variants) {
    my ($workload, $variant) = @$_;
    $text .= "## $heading{$workload}\n\n" if $workload ne $last;
    $text .= variant_table($workload, $variant);
    $last = $workload;
}
$text .= "## Instructions a call\n\n" . instruction_tables() if %counts;
open my $out, '>', $report or die "$report: $!";
print $out <STDIN>, $text;
close $out;
print $text;
draw() if $figures{single};
