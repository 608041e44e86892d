# shellcheck shell=bash
# What the scripts share: finding or installing the tools that a build needs, and saying so.
# To be sourced by a script that has set `set -euo pipefail`.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Cargo, also where rustup put it but no shell profile told PATH.
need_cargo() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "Rust is missing: install it from https://rustup.rs, then run this again"
}

# need COMMAND WHY PACKAGE...: makes COMMAND available, by apt-get where that is possible.
need() {
    local command=$1 why=$2
    shift 2
    have "$command" && return
    say "'$command' is missing ($why): installing $*"
    local advice="install it yourself (Debian, Ubuntu: apt-get install $*; elsewhere: whatever package brings '$command'), then run this again"
    have apt-get || die "this machine has no apt-get: $advice"
    local as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        have sudo || die "installing needs root and there is no sudo: $advice"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update --quiet --quiet || die "apt-get update failed: $advice"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends "$@" >&2 ||
        die "apt-get could not install $*: $advice"
    have "$command" || die "$* is installed, but there is no '$command' in PATH: $advice"
}

# What `cargo build` calls besides Rust itself.
need_build_tools() {
    need_cargo
    need cc "Rust links with it, and SQLite and the cryptography are built with it" gcc libc6-dev
    need protoc "a part of the Cashu library is generated from a protocol description" protobuf-compiler
}

# need_component NAME: a part of the Rust toolchain that rustup's minimal profile leaves out.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    local component=$1
    [[ $component == fmt ]] && component=rustfmt
    say "'cargo $1' is missing: installing it by rustup"
    have rustup || die "there is no rustup: install $component the way you installed Rust"
    rustup component add "$component"
}
