# shellcheck shell=bash
# Folders with a release of Debian each, made by debootstrap and entered by
# chroot: for matrix, package and newcomer, to be sourced by them. The packages
# come from where this machine has its own from, if it is a Debian, or from the
# Debian mirror that MIRROR names. Needs root.

set -euo pipefail

[ "$(id -u)" -eq 0 ] || {
    echo "${0##*/}: only root can make and enter the folders" >&2
    exit 1
}
command -v debootstrap >/dev/null || {
    echo "Installing what is missing here, with apt-get: debootstrap"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends debootstrap >/dev/null
}

# Prints MIRROR, or the first of apt's sources that has a release of Debian; apt
# knows in which files and formats they are.
find_mirror() {
    local mirror
    mirror=${MIRROR:-$(apt-get update --print-uris |
        sed -nE "s,^'(.*)/dists/(bookworm|trixie|forky|sid|(old)?stable|testing|unstable)/InRelease' .*,\1,p")}
    if [ -z "$mirror" ]; then
        echo "${0##*/}: no mirror of Debian is among apt's sources here; name one in MIRROR" >&2
        return 1
    fi
    echo "${mirror%%$'\n'*}"
}

# Makes the folder of a release, unless it is there whole.
make_folder() {
    local mirror
    [ ! -e "$1.made" ] || return 0
    mirror=$(find_mirror) || return
    rm -rf "$1"
    debootstrap --variant=minbase "$2" "$1" "$mirror" && touch "$1.made"
}

# Prints the files of the checkout, for tar.
checkout_files() {
    git ls-files -z --cached --others --exclude-standard
}

# Lets go of what enter has mounted.
leave() {
    local mounted
    for mounted in "$1/dev/shm" "$1/proc"; do
        ! mountpoint -q "$mounted" || umount "$mounted"
    done
}

# Runs a command in a folder. A server needs /dev/shm, and the scripts look at
# processes.
enter() {
    local folder=$1 status=0
    shift
    mkdir -p "$folder/dev/shm" "$folder/proc"
    mount -t proc proc "$folder/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$folder/dev/shm"
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        chroot "$folder" "$@" </dev/null || status=1
    leave "$folder"
    return "$status"
}
