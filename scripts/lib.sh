# Shared by the scripts in this folder; sourced, never run.
#
# Owns how the virtual environment and the parts from outside Python come to be there. Knows nothing of what the
# scripts then do with them. Works with bash 3.2, the newest on macOS.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
NODE_TESTS="$ROOT/tests/transports/node"
NODE_BROWSER="$ROOT/tests/browser"
NODE_PEERS="$ROOT/scripts/benchmarks/peers/node"

# The parts needed from outside Python, one a line: the command and the Debian packages that bring it.
SYSTEM_PARTS=(
  "node nodejs"
  "npm npm"
  "curl curl"
  "redis-server redis-server"
  "nginx nginx-light"
  "chromium chromium"
  "cc gcc libc6-dev"
  "taskset util-linux"
)
TEST_PARTS=(node npm curl redis-server nginx cc chromium)
MIN_NODE=18

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# Runs a command; shows what it printed only if it fails.
quietly() {
  local output status=0
  output="$("$@" 2>&1)" || status=$?
  if [ "$status" -ne 0 ]; then
    say "$output"
    say "failed (exit $status): $*"
  fi
  return "$status"
}

# apt_install PACKAGE...: installs Debian packages as root; otherwise says how to, and stops.
apt_install() {
  if ! command -v apt-get >/dev/null; then
    die "Please install what is called on Debian: $*"
  fi
  if [ "$(id -u)" -ne 0 ]; then
    die "Some parts are missing. Please run:" \
      $'\n'"  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
  fi
  say "Installing $*"
  quietly apt-get update -q || return 1
  quietly env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# find_python TEST: prints the first interpreter for which TEST, a Python expression, holds. A name on the PATH alone
# says little: version managers leave one for every version they know of.
find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if "$name" -c "import sys; sys.exit(not ($1))" >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# Sets PYTHON to an interpreter that can make a virtual environment, installing one if need be.
choose_python() {
  # The embedded database comes ready built for 3.11 to 3.13, so these go before anything newer.
  local fits="(3, 11) <= sys.version_info < (3, 14)" newer="sys.version_info >= (3, 14)"
  local complete="__import__('ensurepip').bootstrap"
  PYTHON="$(find_python "$fits and $complete")" && return
  if [[ "$(find_python "$fits")" =~ ^(/usr)?/bin/python3$ ]]; then
    # Debian keeps the part that makes virtual environments in a package of its own.
    apt_install python3-venv
  elif PYTHON="$(find_python "$newer and $complete")"; then
    say "Using $PYTHON; the embedded database is known to work with Python 3.11 to 3.13."
    return
  else
    apt_install python3 python3-venv
  fi
  PYTHON="$(find_python "$fits and $complete")" || die "Please install Python 3.11, 3.12 or 3.13, with its venv module."
}

# Whether the environment is there and works, here: its commands hold the path at which it was made, and break when
# the folder is moved, or when the interpreter under it is removed.
venv_works() {
  [ -x "$VENV/bin/python" ] &&
    "$VENV/bin/python" -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1 &&
    grep -qsF "$VENV/bin/" "$VENV/bin/pip"
}

# ensure_venv EXTRA...: makes .venv if needed and installs the project with these extras, unless this very
# pyproject.toml was installed with at least them before.
ensure_venv() {
  local stamp="$VENV/.installed" sum wanted extra installed missing=""
  if ! venv_works; then
    choose_python
    say "Making .venv with $("$PYTHON" --version)"
    rm -rf "$VENV"
    quietly "$PYTHON" -m venv "$VENV" || die "The virtual environment could not be made."
  fi
  # Python, because the command for this has another name on every system.
  sum="$("$VENV/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' \
    "$ROOT/pyproject.toml")"
  for extra in "$@"; do
    grep -qsxF "$sum $extra" "$stamp" || missing="yes"
  done
  [ -n "$missing" ] || return 0
  # What was installed before under the same pyproject.toml stays.
  installed="$(grep -sF "$sum " "$stamp" || true)"
  wanted="$(IFS=,; printf '%s' "$*")"
  say "Installing the project and what it needs ($wanted)"
  rm -f "$stamp"
  quietly "$VENV/bin/python" -m pip install --disable-pip-version-check -q -e "${ROOT}[$wanted]" ||
    die "The project could not be installed."
  # Last, so that an installation that was cut short is made again.
  printf '%s\n' ${installed:+"$installed"} "${@/#/$sum }" >"$stamp"
}

# ensure_system_parts COMMAND...: installs those of the parts that are missing.
ensure_system_parts() {
  local wanted part packages missing=() version
  for wanted in "$@"; do
    ! command -v "$wanted" >/dev/null || continue
    for part in "${SYSTEM_PARTS[@]}"; do
      if [ "${part%% *}" = "$wanted" ]; then
        read -r -a packages <<<"${part#* }"
        missing+=("${packages[@]}")
      fi
    done
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    apt_install "${missing[@]}" || die "These could not be installed: ${missing[*]}"
  fi
  case " $* " in
    *" node "*)
      version="$(node -p 'process.versions.node.split(".")[0]')"
      [ "$version" -ge "$MIN_NODE" ] || die "Node $MIN_NODE or newer is needed; $(command -v node) is $(node --version)."
      ;;
  esac
}

# ensure_node_packages FOLDER: installs the Node packages of a folder, when its lock file changed.
ensure_node_packages() {
  local lock="$1/package-lock.json" stamp="$1/node_modules/.installed-lock"
  cmp -s "$lock" "$stamp" && return
  say "Installing the Node packages of ${1#"$ROOT"/}"
  # npm ci empties node_modules first, and the stamp with it.
  quietly npm ci --prefix "$1" --no-audit --no-fund --ignore-scripts || die "npm could not install them."
  cp "$lock" "$stamp"
}
