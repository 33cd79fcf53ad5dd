# A server of a script's own, for other scripts to source: start_server BINARY starts it on free
# ports, sets port, http_port and folder, and ends it with the script.
start_server() {
  folder="$(mktemp -d)"
  "$1" --port 0 --http-port 0 --data-dir "$folder/data" --durability none \
    > "$folder/output" 2> "$folder/log" &
  server=$!
  trap end_server EXIT
  for _ in $(seq 100); do
    port="$(address_port clients)"
    http_port="$(address_port page)"
    if [ -n "$port" ] && redis-cli -p "$port" ping >/dev/null 2>&1; then
      return
    fi
    sleep 0.1
  done
  cat "$folder/log" >&2
  echo "the server did not start" >&2
  exit 1
}

# The port that the banner names behind a word.
address_port() {
  sed -nE "s|^ *$1 +[^ ]*:([0-9]+).*|\\1|p" "$folder/output" | head -n 1
}

end_server() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -rf "$folder"
}
