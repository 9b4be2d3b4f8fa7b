# shellcheck shell=sh
# Functions shared by the scripts in this folder; to be sourced by POSIX shells
# whose working folder is the repository root.

# shellcheck disable=SC2034  # used by the scripts
build_packages="build-essential autoconf automake libtool pkg-config libopenmpi-dev openmpi-bin \
libhdf5-openmpi-dev libopenblas-dev librandom123-dev zlib1g-dev libdeflate-dev"
# shellcheck disable=SC2034  # used by scripts/check
test_packages="libcunit1-dev clang-format hdf5-tools liblz4-dev libzstd-dev"
# shellcheck disable=SC2034  # used by scripts/check
mpich_packages="mpich libmpich-dev libhdf5-mpich-dev"

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE...: with apt-get, without questions, and only what is missing.
install_packages() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: install the counterparts of $* yourself; configure says what it misses"
    return
  fi
  missing=$(missing_packages "$@")
  if [ -z "$missing" ]; then
    say "packages: all are installed"
    return
  fi
  say "packages: installing $missing"
  # shellcheck disable=SC2086  # a list
  as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing ||
    die "apt-get could not install $missing: see its message above"
}

# VPATH builds need a source folder that is not configured itself.
refuse_configured_source() {
  [ ! -f config.status ] || die "this folder holds an in-tree build: run 'make distclean' first"
}
