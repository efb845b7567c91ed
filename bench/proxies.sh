# shellcheck shell=bash disable=SC2154,SC2034,SC2004 # part of bench/run.sh, which has set what is used here
# The origins and the proxies: their ports, configurations, starts. All with one worker, one thread, no access log,
# on CPU 0, and a listener each at the origin, so that no proxy searches for ports among the TIME_WAITs of another.

# Below the range in which the kernel chooses ports of clients: the proxies' own connections to the origin would else take
# the port of a proxy that is not running at the moment.
choose_ports() {
    port[penstock]=10001
    port[haproxy-splice]=10002
    port[haproxy]=10003
    port[nginx]=10004
    port[slow]=10005
    port[penstock-spin]=10006
}

# origin NAME PREFIX LISTENERS ARGS...: an origin, its listeners' ports in the order of the names.
origin() {
    local file=$work/origin.$1 name listen=()
    for name in $3; do listen+=(--listen 127.0.0.1:0); done
    # shellcheck disable=SC2086 # a list
    $2 "$build/bench/origin" "${listen[@]}" "${@:4}" >"$file" 2>&1 &
    started[$!]=origin
    for _ in $(seq 50); do
        [ "$(grep -c ^listening "$file")" -lt ${#listen[@]} ] || break
        sleep 0.1
    done
    for name in $3; do
        origin_port[$name]=$(sed -n '1s/^listening .*://p' "$file")
        [ "${origin_port[$name]}" ] || die "the origin does not listen: $(cat "$file")"
        sed -i 1d "$file"
    done
}

start_origins() {
    origin fast "taskset -c 1" "$proxies penstock-spin"
    port[direct]=${origin_port[direct]}
    [ "$quick" ] || origin slow "taskset -c 1 chrt -i 0" slow --send-buffer 16384
    [ "${origin_port[slow]:-}" ] || origin_port[slow]=${origin_port[penstock]}
}

# penstock_spin_config: a second instance, small, for one workload only.
penstock_spin_config() {
    cat <<YAML
name: bench-$$-spin
workers: 1
time_wait: { mode: kernel }
spin: 100us
limits: { sessions: 100, buffers: 4MiB }
log: { level: info, access: off }
listeners:
  - { name: bench, bind: "127.0.0.1:${port[penstock-spin]}", routes: [ { pool: origin } ] }
pools:
  - { name: origin, servers: [ "127.0.0.1:${origin_port[penstock-spin]}" ] }
YAML
}

penstock_config() {
    cat <<YAML
name: bench-$$
workers: 1
time_wait: { mode: kernel }
limits: { sessions: $sessions, buffers: 64MiB }
log: { level: info, access: off }
listeners:
  - { name: bench, bind: "127.0.0.1:${port[penstock]}", routes: [ { pool: origin } ] }
  - { name: slow, bind: "127.0.0.1:${port[slow]}", routes: [ { pool: slow } ] }
pools:
  - { name: origin, servers: [ "127.0.0.1:${origin_port[penstock]}" ] }
  - { name: slow, servers: [ "127.0.0.1:${origin_port[slow]}" ] }
YAML
}

# haproxy_config NAME: splicing always where the name says so, else forbidden. splice-auto alone leaves it to a guess
# that never came to splice here, bulk included, and then equals HAProxy without.
haproxy_config() {
    cat <<HAPROXY
global
    maxconn $haproxy_sessions
    nbthread 1
    $([ "$1" = haproxy-splice ] || echo nosplice)
defaults
    mode tcp
    $([ "$1" = haproxy ] || printf 'option splice-%s\n    ' auto request response)
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 127.0.0.1:${port[$1]} backlog 4096
    default_backend origin
backend origin
    server origin 127.0.0.1:${origin_port[$1]}
HAPROXY
}

# nginx counts both sides of a session. What is not set here is as nginx has it by default, proxy_buffer_size (16 KiB)
# included; only its backlog of 511 is raised to what the others have.
nginx_config() {
    local module=/usr/lib/nginx/modules/ngx_stream_module.so
    [ ! -e $module ] || echo "load_module $module;"
    cat <<NGINX
daemon off;
worker_processes 1;
worker_rlimit_nofile $limit;
pid $work/nginx.pid;
error_log $work/nginx.error;
events { worker_connections $((2 * sessions + 500)); }
stream {
    server {
        listen 127.0.0.1:${port[nginx]} backlog=4096;
        proxy_pass 127.0.0.1:${origin_port[nginx]};
        proxy_timeout 1h;
    }
}
NGINX
}

# start NAME: starts the proxy on CPU 0 and waits until it listens.
start() {
    local name=$1 command
    case $name in
        penstock*)
            if [ "$name" = penstock ]; then penstock_config; else penstock_spin_config; fi >"$work/$name.conf"
            command=("$build/penstock" run -c "$work/$name.conf")
            ;;
        nginx)
            nginx_config >"$work/$name.conf"
            command=(nginx -p "$work" -e "$work/nginx.error" -c "$work/$name.conf")
            ;;
        haproxy*)
            haproxy_config "$name" >"$work/$name.conf"
            command=(haproxy -db -f "$work/$name.conf")
            ;;
    esac
    taskset -c 0 "${command[@]}" >"$work/$name.log" 2>&1 &
    pid[$name]=$!
    started[$!]=$name
    for _ in $(seq 100); do
        if [ "$(ss -Hltn "sport = :${port[$name]}")" ] &&
            { [[ $name != penstock* ]] || grep -q event=ready "$work/$name.log"; }; then
            return
        fi
        kill -0 "${pid[$name]}" 2>/dev/null || break
        sleep 0.1
    done
    die "$name does not start: $(cat "$work/$name.log")"
}
