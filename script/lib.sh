# shellcheck shell=bash
# What the scripts share, to be sourced by them.
#
# A script runs twice. The first pass, as whoever called it, installs the
# packages that are missing and copies the checkout to a new folder under
# TMPDIR or /tmp. The second pass runs from that copy, as a user who may start
# PostgreSQL (root may not): it builds there and starts a server there. So the
# checkout is only read, nothing is installed into the machine's PostgreSQL,
# none of its clusters and ports is touched, and removing one folder cleans up.
#
# Settings, all from the environment:
#
#   PG_CONFIG=/path/to/pg_config   use that server
#   PGVERSION=16                   use that major version
#   KEEP=1                         leave the folder there
#   PETITION_CAS_...               what the tests take from it, see test/t

set -euo pipefail
export LC_ALL=C.UTF-8
oldest=15                       # the oldest PostgreSQL that will do
work=${PETITION_CAS_WORK:-}     # the folder, and so whether this is the second pass

# Prints its arguments, each on a line.
say() {
    printf '%s\n' "$@"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Runs a command and shows what it said only if it failed.
quietly() {
    if ! "$@" >"$work/log" 2>&1 </dev/null; then
        cat "$work/log"
        say "This failed: $*"
        return 1
    fi
}

# --- The first pass ---------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

update_packages() {
    command -v apt-get >/dev/null ||
        die "no apt-get here: install PostgreSQL $oldest or later with its server headers, and ${missing[*]:-make and gcc}"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        die "packages are missing, and only root or a user with sudo can install them"
    # One source that cannot be reached need not be the one that is needed.
    [ -n "${updated:-}" ] || quietly as_root apt-get update || say "Going on all the same"
    updated=1
}

# The major versions of Debian's servers that are here and will do, the newest
# one last.
servers() {
    local version
    for version in $(find /usr/lib/postgresql -maxdepth 1 -name '[1-9]*' -printf '%f\n' 2>/dev/null | sort -n); do
        if [ "$version" -ge "$oldest" ] && [ -x "/usr/lib/postgresql/$version/bin/postgres" ]; then
            echo "$version"
        fi
    done
}

# Sets major and bin: as PG_CONFIG or PGVERSION say, else the newest server
# that is here, preferably one with its headers, else the one that the
# distribution has.
find_postgres() {
    local version
    major=${PGVERSION:-}
    bin=
    if [ -n "${PG_CONFIG:-}" ]; then
        major=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        bin=$("$PG_CONFIG" --bindir)
    fi
    if [ -z "$major" ]; then
        for version in $(servers); do
            major=$version
        done
        for version in $(servers); do
            [ ! -e "/usr/include/postgresql/$version/server/postgres.h" ] || major=$version
        done
    fi
    if [ -z "$major" ]; then
        say "No PostgreSQL server is here; asking apt-get which one there is"
        update_packages
        major=$(apt-cache show --no-all-versions postgresql | sed -n 's/^Depends:.*postgresql-\([0-9]*\).*/\1/p')
    fi
    [ "${major:-0}" -ge "$oldest" ] || die "PostgreSQL $oldest or later is needed, here is ${major:-none}"
    bin=${bin:-/usr/lib/postgresql/$major/bin}
}

# Notes a package as missing if the test that follows its name fails.
missing=()
want() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

# The client's package has pg_config and its makefiles too, the headers not.
has_headers() {
    test -e "$("$bin/pg_config" --includedir-server)/postgres.h" -a -e "$("$bin/pg_config" --pgxs)"
}

# Writes a file of the machine's that says what packages may do while they are
# installed; restore_machine removes it. One that is there already stays.
restore=()
say_meanwhile() {
    [ ! -e "$1" ] || return 0
    restore+=("$1")
    as_root mkdir -p "${1%/*}"
    printf '%s\n' "$2" | as_root tee "$1" >/dev/null
    as_root chmod 755 "$1"
}

restore_machine() {
    local file
    for file in ${restore[@]+"${restore[@]}"}; do
        as_root rm -f "$file"
        as_root rmdir --ignore-fail-on-non-empty "${file%/*}"
    done
    restore=()
}

# Installs packages, but neither starts a service nor creates a cluster, as
# PostgreSQL's and PgBouncer's would.
install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Installing what is missing here, with apt-get: ${missing[*]}" \
        "(Meanwhile no service is started and no PostgreSQL cluster created.)"
    update_packages
    say_meanwhile /usr/sbin/policy-rc.d '#!/bin/sh
exit 101'
    say_meanwhile /etc/postgresql-common/createcluster.d/petition_cas.conf 'create_main_cluster = false'
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}"
    restore_machine
}

# Installs what is missing and runs the script again, from a copy of the
# checkout. The environment is left behind: no PGHOST, no MAKEFLAGS, no
# ~/.psqlrc is to have a say in what follows.
first_pass() {
    local as=() settings=() variable top self
    for variable in "${!PETITION_CAS_@}"; do
        settings+=("$variable=${!variable}")
    done
    top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    work=$(mktemp -d "${TMPDIR:-/tmp}/petition_cas.XXXXXX")
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    self=$(realpath --relative-to="$top" "$0")
    find_postgres
    want "postgresql-$major" test -x "$bin/postgres"
    want "postgresql-server-dev-$major" has_headers
    want make command -v make
    want gcc command -v gcc
    want libc6-dev test -e /usr/include/stdio.h
    want_more
    install_missing

    mkdir "$work/tmp" "$work/checkout"
    tar -C "$top" --mode=u+rwX --exclude=./.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' -cf - . |
        tar -C "$work/checkout" -xf -
    if [ "$(id -u)" -eq 0 ]; then
        as=(runuser -u postgres --)
        getent passwd postgres >/dev/null || as=(runuser -u nobody --)
        chown -R "${as[2]}:" "$work"
    fi
    cd "$work/checkout"
    "${as[@]}" env -i PATH="$bin:$PATH" LC_ALL="$LC_ALL" LANG="$LC_ALL" HOME="$work" TMPDIR="$work/tmp" \
        TERM="${TERM:-dumb}" "${settings[@]}" PETITION_CAS_WORK="$work" major="$major" bin="$bin" PG_CONFIG="$bin/pg_config" \
        bash "$self" "$@"
}

leave() {
    local status=$?
    restore_machine
    [ -n "${KEEP:-}" ] || rm -rf "$work"
    exit "$status"
}

# --- The second pass --------------------------------------------------------

# Builds the extension and installs it into a folder of its own, and writes
# down for servers how to find it there.
build() {
    local stage=$work/stage
    say "Building petition_cas for PostgreSQL $major"
    quietly make -j2 || return
    quietly make install DESTDIR="$stage" || return
    case $("$bin/postgres" --describe-config) in
        *extension_control_path*)
            cat >"$work/extension.conf" <<END
extension_control_path = '$stage$("$bin/pg_config" --sharedir):\$system'
dynamic_library_path = '$stage$("$bin/pg_config" --pkglibdir):\$libdir'
END
            ;;
        *extension_destdir*) # Debian's own setting, before 18
            echo "extension_destdir = '$stage'" >"$work/extension.conf"
            ;;
        *)
            say "This PostgreSQL $major takes no extension from another folder: make install, and make installcheck there."
            return 1
            ;;
    esac
}

# Starts a server that only this user can reach, through a socket; the
# arguments are lines for its configuration.
start_server() {
    say "Starting a private server in $work"
    quietly initdb --pgdata="$work/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
    {
        cat "$work/extension.conf"
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$work'"
        printf '%s\n' "$@"
    } >>"$work/data/postgresql.conf"
    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    quietly pg_ctl start --pgdata="$work/data" --log="$work/server.log" || {
        cat "$work/server.log"
        return 1
    }
    export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
}

stop_server() {
    local status=$?
    pg_ctl stop --pgdata="$work/data" --mode=immediate --silent || true
    exit "$status"
}

# Tells PostgreSQL's own framework, by which test/t starts servers, where things
# are; for prove.
cluster_environment() {
    local pgxs
    pgxs=$(dirname "$("$bin/pg_config" --pgxs)")/../..
    mkdir -p "$work/cluster/log"
    export TESTDIR=$work/cluster TESTDATADIR=$work/cluster/tmp_check TESTLOGDIR=$work/cluster/log
    export TEMP_CONFIG=$work/extension.conf PG_REGRESS=$pgxs/src/test/regress/pg_regress PERL5LIB=$pgxs/src/test/perl
}
