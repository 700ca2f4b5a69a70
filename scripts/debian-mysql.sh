# MySQL's server from Debian, for the scripts beside this one, which read it with `.` and define `refuse`.
# Debian has MySQL in unstable alone. Its packages and the libraries that they need (60 MB) are fetched from the mirror
# of this machine's apt, checked against Debian's keys as apt always does, and unpacked into a directory of their own:
# nothing is installed, and no root is needed. To have a newer one, remove that directory.
# shellcheck shell=sh
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
shelf=${XDG_CACHE_HOME:-${HOME:?}/.cache}/persistconn
place=$shelf/mysql

# MariaDB's packages install a mysqld too, which is none of MySQL's.
is_mysql() {
    version=$("$1" --no-defaults --version 2>/dev/null) || return 1
    case $version in *MariaDB*) return 1 ;; esac
}

# What is missing here to fetch MySQL; nothing if it can be tried.
why_no_fetch() {
    for program in apt-get dpkg dpkg-deb timeout; do
        command -v "$program" >/dev/null 2>&1 || { echo "no $program to fetch it with" && return; }
    done
    [ -r "$keyring" ] || echo "without Debian's keys ($keyring) none can be fetched"
}

# A private apt: its own sources, lists and archives, an empty machine, and the configuration of this one (proxies).
# Perl is said to be there: the package's scripts want it, the server does not.
prepare_apt() {
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
    printf 'Package: perl\nStatus: install ok installed\nVersion: 99:0\nArchitecture: %s\nMulti-Arch: allowed\n%s\n\n' \
        "$(dpkg --print-architecture)" 'Description: left out' >"$work/status"
    cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
APT::Update::Error-Mode "any";
APT::Keep-Downloaded-Packages "true";
CONF
}

# A machine may have sources of others beside Debian's; those have no unstable that Debian has signed.
update_lists() {
    mirrors=$(apt-get update --print-uris | sed -n "s|^'\(.*\)/dists/.*|\1|p" | awk '!seen[$0]++')
    for mirror in $mirrors; do
        echo "deb [signed-by=$keyring] $mirror unstable main" >"$work/sources.list"
        APT_CONFIG=$work/apt.conf timeout -k 10 120 apt-get update -qq >>"$work/said" 2>&1 && return 0
    done
    cat "$work/said" >&2
    return 1
}

# Through its own loader, for its libraries are newer than this machine's. --no-defaults must stay the first option, so
# ours come last.
write_launcher() {
    root=$work/root
    loader=$(find "$root/usr/lib" "$root/usr/lib64" -name 'ld*.so.*' -type f 2>/dev/null | head -n 1)
    [ -n "$loader" ] || refuse "the packages of MySQL in $work have no dynamic loader"
    libraries=$(dirname "$(find "$root/usr/lib" -name 'libc.so.6' | head -n 1)")
    cat >"$work/mysqld" <<LAUNCHER
#!/bin/sh
root=\${0%/*}/root
exec "\$root${loader#"$root"}" --inhibit-cache --library-path "\$root${libraries#"$root"}" "\$root/usr/sbin/mysqld" "\$@" \\
    --basedir="\$root/usr" --plugin-dir="\$root/usr/lib/mysql/plugin" \\
    --lc-messages-dir="\$root/usr/share/mysql" --character-sets-dir="\$root/usr/share/mysql/charsets"
LAUNCHER
    chmod +x "$work/mysqld"
}

download() {
    APT_CONFIG=$work/apt.conf timeout -k 10 600 \
        apt-get install -qq -y --download-only --no-install-recommends mysql-server-core >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        refuse "apt-get could not fetch mysql-server-core from Debian unstable (its message is above)"
    }
}

unpack() {
    for package in "$work"/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root" || refuse "dpkg-deb could not unpack ${package##*/} into $work"
    done
    rm -rf "$work/root/usr/bin" "$work/root/usr/share/doc" "$work/root/usr/share/man"
}

# Whole or not at all, for two may fetch it at once.
put_on_shelf() {
    mkdir -p "$shelf"
    new=$(mktemp -d "$shelf/.mysql-XXXXXX")
    trap 'rm -rf "$work" "$new"' EXIT
    mv "$work/root" "$work/mysqld" "$new"
    chmod 755 "$new"
    is_mysql "$place/mysqld" || rm -rf "$place"
    mv -T "$new" "$place" 2>/dev/null || is_mysql "$place/mysqld" || refuse "MySQL could not be put into $place"
}

# Fetches MySQL into $place unless it is there. In a shell of its own, whose end removes what it has made on the way.
fetch_mysql() (
    ! is_mysql "$place/mysqld" || exit 0
    umask 022 # apt fetches as a user of its own
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    chmod 755 "$work"
    echo "${0##*/}: fetching MySQL from Debian unstable (60 MB) into $place" >&2
    prepare_apt
    update_lists || refuse "no mirror of this machine's apt gave Debian unstable's list of packages (apt-get's message is above)"
    download
    unpack
    write_launcher
    is_mysql "$work/mysqld" || refuse "MySQL was fetched and does not run here: $("$work/mysqld" --no-defaults --version 2>&1 | head -n 3)"
    put_on_shelf
)
