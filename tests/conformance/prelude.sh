# What every scenario starts with. The runner puts this in front of NAME.t.
#
#   step 'sentence' 'command'   run the command (a line of sh), show what it said
#   put FILE <<E                write a file
#
# Shown: standard output as it is (odd bytes as cat -v shows them), each line of
# standard error after "2: ", then the exit code. A missing last newline is
# shown as a lone backslash. $LIMIT seconds are the most a command may take.

LIMIT=10

show() {
	cat -v <"$SCRATCH/out" | sed "s/^--- / --- /"
	if [ -s "$SCRATCH/out" ] && [ "$(tail -c 1 "$SCRATCH/out" | od -An -tx1 | tr -d ' ')" != 0a ]; then
		echo '\'
	fi
	cat -v <"$SCRATCH/err" | sed 's/^/2: /'
	if [ -s "$SCRATCH/err" ] && [ "$(tail -c 1 "$SCRATCH/err" | od -An -tx1 | tr -d ' ')" != 0a ]; then
		echo '\'
	fi
	echo "exit $1"
}

step() {
	echo "--- $1"
	timeout -k 1 "$LIMIT" /bin/sh -c "$2" >"$SCRATCH/out" 2>"$SCRATCH/err" </dev/null
	show $?
}

put() { cat >"$1"; }

# await 'command': wait up to five seconds until the command succeeds.
await() {
	tries=0
	until /bin/sh -c "$1" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -gt 100 ] && { echo "gave up waiting: $1"; return 1; }
		sleep 0.05
	done
}
