# Shared by the checks of this folder; each is run from the top of the tree.
# shellcheck shell=bash
set -u
export LC_ALL=C

# The project's files: those of git and new ones that are not ignored; without git all but build/.
project_files() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -co --exclude-standard -- "$@" | while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
    else
        find . \( -path ./build -o -path ./.git \) -prune -o -type f -print | sed 's,^\./,,' |
            while IFS= read -r f; do
                [ $# = 0 ] && echo "$f" && continue
                for p in "$@"; do
                    # shellcheck disable=SC2053 # a pattern
                    [[ $f == $p ]] && echo "$f" && break
                done
            done
    fi | sort -u
}

# C sources and headers; BPF programs have a compiler and headers of their own.
c_files() { project_files '*.c' '*.h' | grep -vE '\.bpf\.[ch]$'; }
c_sources() { c_files | grep '\.c$'; }
c_headers() { c_files | grep '\.h$'; }

shell_scripts() {
    project_files | while IFS= read -r f; do
        case $f in
        *.sh) echo "$f" ;;
        *.*) ;;
        *) head -n 1 "$f" | grep -aqE '^#!.*\b(ba)?sh\b' && echo "$f" ;;
        esac
    done
    project_files '.ci/*' | while IFS= read -r f; do head -n 1 "$f" | grep -aqE '^#!.*\b(ba)?sh\b' && echo "$f"; done
}

# fail MESSAGE: reports and lets the check go on; every check ends with `finish`.
failures=0
fail() {
    echo "  $*"
    failures=$((failures + 1))
}
finish() { [ "$failures" = 0 ]; }
