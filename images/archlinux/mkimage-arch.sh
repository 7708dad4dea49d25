#!/bin/bash
#
# Make a minimal Arch Linux base image with pacstrap, and load it into the Docker Engine as `archlinux`.
#
# Runs as root on Arch and wherever arch-install-scripts and pacman are packaged (Debian, Ubuntu). --help tells the
# options. Nothing is asked. The same packages give the same bytes, every time.
#
# How it ends well: the work is done in mount and process namespaces of its own, which the kernel takes apart when this
# script ends, however it ends; and a cleaner waits until the last process that could write is gone, then removes the
# files. So also `kill -9` leaves no mount and no file.

set -euo pipefail
shopt -s inherit_errexit nullglob
umask 022
export LC_ALL=C

SELF=$(realpath -- "${BASH_SOURCE[0]}")
HERE=$(dirname -- "$SELF")
readonly SELF HERE
readonly MEMORY=/dev/shm # of the inner half's own: gpg's sockets need a short path, and a full disk has no room to say so
readonly INSTALLING=946684800 # the date that programs write which run at installation, if no other is asked for

usage() {
    cat <<'END'
usage: mkimage-arch.sh [OPTION ...]

Make a minimal Arch Linux base image and load it into the Docker Engine.

  --mirror URL      package mirror (this machine's /etc/pacman.d/mirrorlist)
  --arch NAME       x86_64 or aarch64 (this machine's)
  --tag NAME        name of the image (archlinux)
  --packages LIST   packages, separated by commas or spaces (those in mkimage/packages)
  --output FILE     write a tar file instead, and the list of packages beside it as FILE.packages; needs no engine
  --rootfs DIR      leave the file system in DIR, an empty directory, instead; needs no engine
  --keyring DIR     where the distribution's keys are (/usr/share/pacman/keyrings or /usr/share/keyrings)
  --cache DIR       where the image's keyring is kept for the next time (/var/cache/mkimage-arch)
  --help            this text

No file is later than SOURCE_DATE_EPOCH (seconds; the newest package's build). TMPDIR holds the work (/var/tmp): 3 GB.
The last line printed is the image's name, or the file's or directory's.
END
}

say() { printf 'mkimage-arch: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
refuse() { say "$* (--help tells more)"; exit 2; }

# ---- What is asked for

mirror='' arch=$(uname -m) tag=archlinux packages='' output='' rootfs='' keyring='' cache=/var/cache/mkimage-arch

read_options() {
    while (($#)); do
        local name=${1%%=*} value
        case $name in
            --help | -h) usage; exit 0 ;;
            --mirror | --arch | --tag | --packages | --output | --rootfs | --keyring | --cache) ;;
            *) refuse "$1 is not an option" ;;
        esac
        if [[ $1 == *=* ]]; then
            value=${1#*=}
        else
            (($# > 1)) || refuse "$name needs a value"
            value=$2
            shift
        fi
        [[ $value ]] || refuse "$name needs a value"
        printf -v "${name#--}" %s "$value"
        shift
    done
}

check_options() {
    [[ -f $HERE/mkimage/pacman-$arch.conf ]] || refuse "--arch: '$arch' is not known; x86_64 and aarch64 are"
    local part='[a-z0-9]+([._-]+[a-z0-9]+)*'
    [[ $tag =~ ^$part(:[0-9]+/$part)?(/$part)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$ ]] || refuse "--tag: '$tag' is no name of an image"
    [[ ! $output || ! $rootfs ]] || refuse "--output and --rootfs: only one of them can be had"
    [[ ${SOURCE_DATE_EPOCH:-0} =~ ^[0-9]{1,11}$ ]] ||
        refuse "SOURCE_DATE_EPOCH: '$SOURCE_DATE_EPOCH' is no number of seconds"
    if [[ $mirror && ! $mirror =~ ^(https?|ftp|file):// ]]; then
        refuse "--mirror: '$mirror' is no URL; it begins with https://, http://, ftp:// or file://"
    fi
    if [[ $mirror =~ [[:space:]] ]]; then
        refuse "--mirror: '$mirror' holds a space"
    fi
    packages=${packages//,/ }
    if [[ ! $packages ]]; then
        packages=$(sed 's/#.*//' "$HERE/mkimage/packages" | xargs)
    fi
    [[ ! $packages =~ [^A-Za-z0-9@._+\ -] && ! " $packages" =~ \ - ]] ||
        refuse "--packages: '$packages' is no list of package names"
    case $arch in
        aarch64) distribution=archlinuxarm ;;
        *) distribution=archlinux ;;
    esac
    packages+=" $distribution-keyring"
}

# ---- What is there

check_machine() {
    ((EUID == 0)) || die "this needs root: run it with sudo"
    local tool missing=()
    for tool in pacstrap arch-chroot pacman pacman-key gpg unshare setpriv setsid tar; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    # Debian's needs a part of makepkg, and does not say so.
    ((${#missing[@]})) || pacman-key --version >/dev/null 2>&1 || missing=(makepkg)
    ((${#missing[@]} == 0)) ||
        die "not found: ${missing[*]}; on Arch, pacman -S arch-install-scripts;" \
            "on Debian, apt-get install arch-install-scripts pacman-package-manager makepkg archlinux-keyring"
    if [[ $arch != "$(uname -m)" ]]; then
        grep -qs '^enabled' "/proc/sys/fs/binfmt_misc/qemu-$arch" ||
            die "programs of $arch cannot run on this machine; qemu's user emulation (qemu-user-static) lets them"
    fi
    find_keyring
    find_mirror
    check_target
    unshare --mount --pid --fork true 2>/dev/null ||
        die "mounts and processes of its own are not allowed here; in a container it takes --privileged"
}

find_keyring() {
    local place
    for place in ${keyring:+"$keyring"} /usr/share/pacman/keyrings /usr/share/keyrings; do
        if [[ -s $place/$distribution.gpg ]]; then
            keyring=$(realpath -- "$place")
            return
        fi
        [[ $place != "$keyring" ]] || break
    done
    die "there is no $distribution.gpg in ${keyring:-/usr/share/pacman/keyrings or /usr/share/keyrings}:" \
        "install $distribution-keyring, or name its directory with --keyring"
}

# The layouts of the two distributions' mirrors differ; an address that has its own $repo is taken as it is.
find_mirror() {
    servers=''
    if [[ $mirror == *\$repo* ]]; then
        servers="Server = $mirror"
    elif [[ $mirror && $arch == aarch64 ]]; then
        servers="Server = ${mirror%/}/\$arch/\$repo"
    elif [[ $mirror ]]; then
        servers="Server = ${mirror%/}/\$repo/os/\$arch"
    elif [[ $arch == "$(uname -m)" && -r /etc/pacman.d/mirrorlist ]]; then
        servers=$(grep '^[[:space:]]*Server[[:space:]]*=' /etc/pacman.d/mirrorlist || :)
        mirror="the mirrors of /etc/pacman.d/mirrorlist"
    fi
    [[ $servers ]] || die "this machine has no list of mirrors: name one with --mirror (any of Arch's own list of mirrors)"
}

check_target() {
    if [[ $rootfs ]]; then
        [[ -d $rootfs ]] || die "--rootfs: $rootfs is no directory"
        [[ -z $(ls -A -- "$rootfs") ]] ||
            die "--rootfs: $rootfs is not empty, perhaps a half-built system of an earlier run: remove it first"
        rootfs=$(realpath -- "$rootfs")
    elif [[ $output ]]; then
        [[ -d $(dirname -- "$output") ]] || die "--output: there is no directory $(dirname -- "$output")"
        [[ ! -d $output ]] || die "--output: $output is a directory"
        output=$(realpath -- "$output")
    else
        command -v docker >/dev/null || die "docker not found; install it, or write a file with --output"
        timeout 20 docker version >/dev/null 2>&1 ||
            die "no Docker Engine answers at ${DOCKER_HOST:-its usual socket}; start it, or write a file with --output"
    fi
}

# ---- The outer half: a place to work in, and its end

run_apart() {
    local work began=$SECONDS
    work=$(mktemp -d -- "${TMPDIR:-/var/tmp}/mkimage-arch.XXXXXXXX" 2>/dev/null) ||
        die "no directory to work in could be made in ${TMPDIR:-/var/tmp}"
    # The cleaner reads a pipe that every process of this run holds open: its end is theirs. It is in a session of its
    # own, so what ends this one does not end it. What was half delivered goes too.
    # shellcheck disable=SC2016 # for the cleaner's shell
    local clean='trap "" HUP INT TERM; cat >/dev/null
        [[ ! $1 ]] || rm -f -- "$1.part" "$1.packages.part"
        rm -f -- "$3"/keyring-*."${0##*.}"
        [[ ! $2 || -e $0/filled ]] || find "$2" -xdev -mindepth 1 -delete
        rm -rf --one-file-system -- "$0"'
    exec {alive}> >(exec setsid bash -c "$clean" "$work" "$output" "$rootfs" "$cache")
    cleaner=$!
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    say "makes ${rootfs:-${output:-image $tag}} for $arch, from $mirror"
    declare -p mirror arch packages keyring cache distribution servers >"$work/asked"
    # The child dies with this process, and with it all that it started. In a session of its own it hears no key of the
    # terminal: only this process says what an interruption means.
    setpriv --pdeathsig KILL -- setsid unshare --mount --pid --fork --kill-child \
        bash "$SELF" inside "$work" </dev/null &
    inside=$!
    local status=0
    wait "$inside" || status=$?
    inside=''
    ((status < 128)) || die "the work was ended from outside, perhaps for lack of memory"
    ((status == 0)) || exit 1 # it has said why
    deliver "$work"
    say "done after $((SECONDS - began)) s"
    printf '%s\n' "${rootfs:-${output:-$tag}}"
}

finish() {
    local status=$?
    trap '' HUP INT TERM
    [[ ! ${inside:-} ]] || kill -KILL "$inside" 2>/dev/null || :
    [[ ! ${imported:-} ]] || docker image rm --force "$imported" >/dev/null 2>&1 || :
    exec {alive}>&-
    wait "$cleaner" || : # it ends when all else has
    ((status <= 128)) || say "ended by a signal; nothing is left behind"
    exit "$status"
}

deliver() {
    local work=$1
    if [[ $rootfs ]]; then
        fill_rootfs "$work"
    elif [[ $output ]]; then
        { cp -- "$work/rootfs.tar" "$output.part" && cp -- "$work/packages" "$output.packages.part"; } ||
            die "--output: $output could not be written"
        mv -- "$output.packages.part" "$output.packages"
        mv -- "$output.part" "$output"
        say "sha256 $(cut -d ' ' -f 1 "$work/sum")"
    else
        load "$work"
    fi
}

fill_rootfs() {
    tar -C "$rootfs" --xattrs --xattrs-include='security.capability' --numeric-owner -xpf "$1/rootfs.tar" ||
        die "$rootfs could not be filled"
    : >"$1/filled"
}

# Older engines note their own architecture, whatever they are told: it is not asked for when the image is run.
load() {
    local said platform=()
    case $arch in
        "$(uname -m)") ;;
        aarch64) platform=(--platform linux/arm64) ;;
        x86_64) platform=(--platform linux/amd64) ;;
    esac
    imported=$(docker import "${platform[@]}" --change 'CMD ["/usr/bin/bash"]' --change 'ENV LANG=en_US.UTF-8' \
        "$1/rootfs.tar") || die "the engine could not import the image"
    said=$(docker run --rm --network none "$imported" echo Success 2>"$1/complaints") || :
    [[ $said == Success ]] || die "the image does not run: $said$(<"$1/complaints")"
    docker tag "$imported" "$tag" || die "the engine could not name the image $tag"
    imported=''
    say "the image runs; sha256 of its file system $(cut -d ' ' -f 1 "$1/sum")"
}

# ---- The inner half: makes $work/rootfs.tar, its sum, and the list of packages

# Do "$2…", all that it prints shown and kept; what goes wrong becomes one sentence that begins with "$1".
step() {
    local title=$1 status
    shift
    say "$SECONDS s  $title"
    set +e # as a part of a condition, the step would go on after its first failure
    (
        set -e
        "$@"
    ) 2>&1 | tee "$MEMORY/log" >&2
    status=${PIPESTATUS[0]}
    set -e
    ((status == 0)) || die "could not $title: $(reason)"
}

# A full disk, whatever the tool made of it; what pacman called errors, or its scripts; else the last that was said.
reason() {
    local log=$MEMORY/log
    if grep -q 'No space left on device' "$log" || (($(stat -f -c '%a * %S' "$work") < 1 << 20)); then
        echo "no space is left in $(dirname "$work")"
        return
    fi
    {
        grep -m 4 '^error:' "$log" || grep -m 1 '^==> ERROR:' "$log" || grep -v '^[[:space:]]*$' "$log" | tail -n 1
    } | sed -E 's/^(==> )?(error|ERROR): *//' | paste -sd ';' | sed 's/;/; /g'
}

make_inside() {
    work=$1
    root=$work/root
    # shellcheck disable=SC1091 # written by the outer half
    source "$work/asked"
    export TMPDIR=$work/tmp
    mkdir -m 0755 "$root" "$TMPDIR"
    mount --bind "$root" "$root" # arch-chroot wants a mount
    mount -t tmpfs -o mode=0700,size=64m tmpfs "$MEMORY" || die "there is no $MEMORY to work in"
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$INSTALLING}

    write_pacman_conf
    step "read the distribution's keys in $keyring" host_keyring
    # shellcheck disable=SC2086 # one word for each package
    step "install packages from $mirror" pacstrap -C "$work/pacman.conf" -G -M "$root" $packages
    step "list what was installed" list_packages
    date=$(<"$work/date")
    step "configure the system" configure
    step "initialise the image's keyring" image_keyring
    step "remove what differs from one time to the next" settle
    step "pack $(wc -l <"$work/packages") packages" pack
    sha256sum "$work/rootfs.tar" >"$work/sum"
}

write_pacman_conf() {
    printf '%s\n' "$servers" >"$MEMORY/mirrorlist"
    sed "s|^Include = .*|Include = $MEMORY/mirrorlist|" "$HERE/mkimage/pacman-$arch.conf" >"$work/pacman.conf"
    sed -i "/^\[options\]/a GPGDir = $MEMORY/gnupg" "$work/pacman.conf"
}

# pacman-key reads one directory, on Debian another than on Arch: here, and here only, the chosen one lies over both.
host_keyring() {
    local place
    for place in /usr/share/pacman/keyrings /usr/share/keyrings; do
        if [[ -d $place && $place != "$keyring" ]]; then
            mount --bind "$keyring" "$place"
        fi
    done
    mkdir -m 0700 "$MEMORY/gnupg"
    local key=(pacman-key --config "$work/pacman.conf" --gpgdir "$MEMORY/gnupg")
    "${key[@]}" --init
    "${key[@]}" --populate "$distribution"
}

# Their names and versions, and the date for the image's files: the one asked for, else the newest package's.
list_packages() {
    pacman --config "$work/pacman.conf" -r "$root" -Q | tee "$work/packages"
    if [[ $SOURCE_DATE_EPOCH != "$INSTALLING" ]]; then
        echo "$SOURCE_DATE_EPOCH"
    else
        sed -n '/^%BUILDDATE%$/{n;p}' "$root"/var/lib/pacman/local/*/desc | sort -n | tail -n 1
    fi >"$work/date"
}

configure() {
    install -m 0644 "$HERE/mkimage/pacman-$arch.conf" "$root/etc/pacman.conf"
    mkdir -p "$root/etc/pacman.d" "$root/usr/lib/mkimage-arch"
    install -m 0644 "$MEMORY/mirrorlist" "$root/etc/pacman.d/mirrorlist"
    install -m 0644 "$work/packages" "$root/usr/lib/mkimage-arch/packages"
    echo 'LANG=en_US.UTF-8' >"$root/etc/locale.conf"
    echo 'en_US.UTF-8 UTF-8' >"$root/etc/locale.gen"
    arch-chroot "$root" locale-gen
    ln -sf /usr/share/zoneinfo/UTC "$root/etc/localtime"
}

# The master key that signs the distribution's keys is random. So that the same packages give the same image, the signed
# keys are kept for the next time, and never the key that signed them: nobody can sign another one into an image.
image_keyring() {
    local kept sum
    sum=$(cd "$root/usr/share/pacman/keyrings" && sha256sum -- * | sha256sum | cut -c -16)
    kept=$cache/keyring-$distribution-$sum.tar
    if [[ -s $kept ]]; then
        echo "as kept in $kept"
    else
        arch-chroot "$root" pacman-key --init
        arch-chroot "$root" pacman-key --populate "$distribution"
        find "$root/etc/pacman.d/gnupg" -mindepth 1 \
            \( -name private-keys-v1.d -o -name openpgp-revocs.d -o -name crls.d -o -name secring.gpg -o -name random_seed \
            -o -name 'S.*' -o -name '*.lock' -o -name '.#*' -o -name '*~' \) -prune -exec rm -rf {} +
        mkdir -p "$cache"
        tar -C "$root/etc/pacman.d" -cf "$work/keyring.tar" gnupg
        local mine=$kept.${work##*.} # another run may be keeping its own
        mv -- "$work/keyring.tar" "$mine"
        mv -- "$mine" "$kept"
    fi
    rm -rf "$root/etc/pacman.d/gnupg"
    tar -C "$root/etc/pacman.d" -xpf "$kept"
}

settle() {
    cd "$root"
    sed -i "/^%INSTALLDATE%\$/{n;s/.*/$date/}" var/lib/pacman/local/*/desc
    if [[ -f etc/shadow ]]; then
        sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1::/' etc/shadow # the day of the last change of a password
    fi
    if [[ -f etc/machine-id ]]; then
        : >etc/machine-id
    fi
    rm -rf var/lib/pacman/sync/* var/cache/pacman/pkg/* var/log/pacman.log var/cache/ldconfig/aux-cache
    rm -rf var/cache/fontconfig/* etc/udev/hwdb.bin var/lib/systemd/catalog/database etc/.updated var/.updated
    rm -rf etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/.pwd.lock root/.gnupg root/.bash_history
    rm -rf dev/* run/* tmp/* etc/resolv.conf etc/hostname
    echo "no file is later than $(date --utc --date "@$date" --iso-8601=seconds)"
}

# Sorted, with numbers for owners and no date later than the one, as reproducible-builds.org describes for GNU tar. Files
# that came in a package keep its dates: bytecode would be taken for stale otherwise.
pack() {
    tar -C "$root" --sort=name --numeric-owner --mtime="@$date" --clamp-mtime --format=posix \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
        --xattrs --xattrs-include='security.capability' -cf "$work/rootfs.tar" .
}

# ---- Main

if [[ ${1:-} == inside && $# -eq 2 && -f $2/asked ]]; then
    make_inside "$2"
else
    read_options "$@"
    check_options
    check_machine
    run_apart
fi
