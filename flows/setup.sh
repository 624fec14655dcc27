#!/usr/bin/env bash
# Makes what the project needs to run: .venv with the extras that are named, and those Debian packages that are missing.
#     flows/setup.sh [EXTRA...]     extras of pyproject.toml; what was installed before stays
# `make` calls it when .venv/.ready is older than the lock, and for an extra that a model needs; it may be run again at any
# time. Versions come from requirements.lock, NumPy's from one of two files beside it: the extra keras needs NumPy 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export LC_ALL=C.UTF-8 # else setuptools cannot write the name of this folder where it has other than ASCII letters
log=$PWD/build/setup.log
mkdir -p build
exec 9> build/setup.lock # one set-up at a time: the second waits, then finds the first one's result
flock 9

# fresh FILE: whether FILE is newer than all that decides what is installed.
fresh() {
    local of
    for of in requirements.lock requirements-numpy1.lock requirements-numpy2.lock flows/setup.sh pyproject.toml; do
        [[ $1 -nt $of ]] || return 1
    done
}

wanted=()
for extra in "$@"; do
    [[ -f .venv/.extra-$extra ]] && fresh ".venv/.extra-$extra" || wanted+=("$extra")
done
((${#wanted[@]} == 0)) && fresh .venv/.ready && exit 0
: > "$log"

say() { echo "setup: $*" >&2; }

fail() {
    say "$@"
    exit 1
}

# apt_install PACKAGE...: as root, or through sudo (asking for a password only at a terminal); status 1 where neither works.
apt_install() {
    command -v apt-get > /dev/null || return 1
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo > /dev/null || return 1
        as_root=(sudo)
        [[ -t 0 ]] || as_root+=(-n)
    fi
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@")
    say "installing $* with apt-get"
    # A new machine has no package lists yet, an old one stale lists: fetch them only when the plain way fails.
    "${install[@]}" >> "$log" 2>&1 && return
    "${as_root[@]}" apt-get update >> "$log" 2>&1 && "${install[@]}" >> "$log" 2>&1
}

# Python's packaging takes these for its own: a variable, and what separates folders.
here=$(pwd -P)
case $here in
    *:* | *{* | *}* | *\$[A-Za-z_]* | *$'\n'*)
        fail "Python cannot install packages in a folder whose path has a colon, a brace, a new line or a \$ before a letter:" \
            $'\n      ' "$here"$'\n       Move the checkout to another folder.'
        ;;
esac

# The first Python 3.10 to 3.12 that can make virtual environments.
find_python() {
    local python
    for python in python3.11 python3.12 python3.10 python3; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
            2> /dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

if ! .venv/bin/python -c 'import pip' 2> /dev/null; then
    python=$(find_python) || { apt_install python3 python3-venv && python=$(find_python); } || fail \
        "no Python 3.10, 3.11 or 3.12 with venv and ensurepip on PATH, and apt cannot install one." \
        $'\n       On Debian 12 or Ubuntu 22.04/24.04: apt-get install python3 python3-venv'
    say "making .venv with $("$python" -V)"
    "$python" -m venv --clear .venv >> "$log" 2>&1 || fail "$python -m venv failed; see $log"
fi

# All extras together, those of before, too: what is newer than one's limit (NumPy's, for keras) must not stay.
extras=pnr
for marked in .venv/.extra-*; do
    [[ -f $marked ]] && extras+=,${marked#.venv/.extra-}
done
for extra in "${wanted[@]}"; do
    extras+=,$extra
done
numpy=requirements-numpy2.lock
[[ ,$extras, == *,keras,* ]] && numpy=requirements-numpy1.lock
say "installing xnorflow[$extras] in the versions of requirements.lock (a minute or two, more with keras)"
progress=(cat)
if [[ -t 2 ]]; then
    progress=(awk '/^Collecting|^Requirement already/ { printf "\r\033[K  %d %s", ++n, $2 > "/dev/stderr" }
                   /^Installing collected/            { printf "\r\033[K  unpacking" > "/dev/stderr" }
                   END                                { printf "\r\033[K" > "/dev/stderr" }')
fi
install=(.venv/bin/python -m pip install --disable-pip-version-check --progress-bar off -c requirements.lock -c "$numpy")
if ! { "${install[@]}" setuptools setuptools-scm wheel && "${install[@]}" --no-build-isolation -e ".[$extras]"; } 2>&1 |
    tee -a "$log" | "${progress[@]}" > /dev/null; then
    grep -a ERROR "$log" >&2 || tail -n 5 "$log" >&2
    fail "pip could not install xnorflow[$extras] (is a package index within reach?); all it said: $log"
fi

# Where the sources are, from there: Python reads it as the locale has it, which may lack letters of this folder's name.
for link in .venv/lib/python3.*/site-packages/__editable__.xnorflow-*.pth; do
    [[ ! -f $link ]] || echo ../../../../src > "$link"
done

missing=()
command -v g++ > /dev/null || missing+=(g++)
command -v clang++ > /dev/null || missing+=(clang)
command -v iverilog > /dev/null || missing+=(iverilog)
command -v yosys > /dev/null || missing+=(yosys)
command -v sta > /dev/null || missing+=(opensta) # timing and power of an ASIC
[[ ,$extras, != *,test,* ]] || command -v chromium > /dev/null || missing+=(chromium) # tests look at reports in it
for package in "${missing[@]}"; do # one by one: the lack of one must not keep the other away
    apt_install "$package" ||
        say "$package is missing and apt cannot install it here; engines and tests that need it are skipped, and say so." \
            $'\n       As an administrator: apt-get install' "$package"
done

for extra in "${wanted[@]}"; do
    touch ".venv/.extra-$extra"
done
touch .venv/.ready
say "ready"
