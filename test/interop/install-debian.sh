#!/usr/bin/env bash
# Installs, from Debian's own packages, what `npm run test:interop` and `npm run test:databases` need
# and this machine lacks: the databases, a JDK with Maven, Python's venv, Go where Debian's is new
# enough. Needs root and apt-get; without them, or for what cannot be had, it says so and leaves the
# rest to the run, which skips what is absent. Nothing is started: tests start their own servers.
set -euo pipefail

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
  echo "interop: not root on Debian, nothing installed; what is absent will be skipped"
  exit 0
fi

wanted=()
needs() {
  local package="$1" path
  shift
  for path in "$@"; do
    if compgen -G "$path" > /dev/null || command -v "$path" > /dev/null; then return 0; fi
  done
  wanted+=("$package")
}
needs mariadb-server-core mariadbd /usr/sbin/mariadbd
# The installer of a data folder uses a tool of this package.
needs mariadb-client-core mariadb
needs postgresql /usr/lib/postgresql/*/bin/postgres
needs redis-server redis-server
needs default-jdk-headless javac
needs maven mvn
# A Python that is not Debian's brings its own.
needs python3-venv '/usr/lib/python3*/ensurepip' '/usr/local/lib/python3*/ensurepip' pyenv
needs golang-go go

if [ "${#wanted[@]}" -eq 0 ]; then
  echo "interop: nothing to install"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# The packages' services would take the default ports: exit 101 forbids their start.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
if ! apt-get update --quiet --quiet; then
  echo "interop: Debian's package lists cannot be had; trying with those that are here"
fi
for package in "${wanted[@]}"; do
  if apt-get install --quiet --quiet --yes --no-install-recommends "$package" > /dev/null; then
    echo "interop: installed $package"
  else
    echo "interop: $package cannot be had here"
  fi
done
