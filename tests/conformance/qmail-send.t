# qmail-send with qmail-clean and qmail-queue; daemons.py plays the spawners.
# programs: qmail-send qmail-clean qmail-queue qmail-qread
# needs: home users
# mask: pid uid date time

# Each command waits for what it needs.
LIMIT=40
q=$HOMEDIR/queue; export q
cd "$HOMEDIR/control"
echo me.test >me; printf 'me.test\nlocal.test\n' >locals
printf 'virt.test:me\n.wild.test:me-wild\nuser@one.test:me-one\nskip.virt.test:\nempty.test:\n' >virtualdomains
echo pct.test >percenthack
cd "$SCRATCH/w"
put tidy <<'X'
sed 's/msg [0-9]*/msg ID/; s/bytes [0-9]*/bytes N/; s/bounce\/[0-9]*/bounce\/ID/; s/qp_[0-9]*/qp_PID/; s/uid [0-9]*/uid UID/; s/ [0-9]*\/[0-9][0-9]* </ PATH </'
X
# send SENDER RECIPIENT...: queue a message, wait until $ENDS messages more are done
put send <<'X'
#!/bin/sh
had=$(grep -c "^end msg" log)
{ printf 'F%s\0' "$1"; shift; for r; do printf 'T%s\0' "$r"; done; printf '\0'; } >env
printf 'Subject: x\n\nbody\n' | qmail-queue 1<env || echo "queue $?"
tries=0
until [ "$(grep -c "^end msg" log)" -ge $((had + ${ENDS-1})) ]; do
	tries=$((tries + 1)); [ $tries -gt 400 ] && { echo late; break; }
	sleep 0.05
done
sleep 0.1
X
# got: what is new in the log and in the orders. A message may end while its bounce is already on its way, so the ends
# are told last.
put got <<'X'
#!/bin/sh
tail -n +$(($(cat seen) + 1)) log | sh tidy >new
grep -v '^end msg' new
grep '^end msg' new
wc -l <log >seen
echo
tail -n +$(($(cat seen2) + 1)) orders | sh tidy
wc -l <orders >seen2
X
# lines N PATTERN: wait until so many lines of the log that were not seen match
put lines <<'X'
#!/bin/sh
tries=0
until [ "$(tail -n +$(($(cat seen) + 1)) log | grep -c "$2")" -ge "$1" ]; do
	tries=$((tries + 1)); [ $tries -gt 400 ] && { echo "no $1 times $2"; break; }
	sleep 0.05
done
sleep 0.1
X
# calm: wait until qmail-send has taken its signals and sleeps again
put calm <<'X'
#!/bin/sh
tries=0
until grep -q '^State:.S' /proc/$send/status && ! grep -q '^S[a-z]*Pnd:.*[1-9a-f]' /proc/$send/status; do
	tries=$((tries + 1)); [ $tries -gt 400 ] && { echo 'no rest'; break; }
	sleep 0.05
done
sleep 0.1
X
chmod 755 send got lines calm
PATH=$PWD:$PATH; export PATH
echo 0 >seen; echo 0 >seen2
: >log; : >orders

step 'without descriptors' 'qmail-send </dev/null >/dev/null'
start() {
	rm -f pid pid.code
	cp log before
	setsid python3 "$SUITE/daemons.py" log orders pid &
	await 'test -s pid'
	send=$(cat pid); export send
	await "tail -n +$(($(wc -l <before) + 1)) log | grep status:"
}
stop() { kill -TERM $send; await 'test -s pid.code'; }

start
step 'the first word' './got'
step 'a second qmail-send' 'qmail-send </dev/null 0>&1'
step 'a local delivery' './send s@x.test me@me.test; ./got'
await 'test -z "$(find $q/mess $q/intd $q/todo $q/info $q/local $q/remote $q/bounce -type f)"'
step 'nothing stays in the queue' 'cd $q; find mess intd todo info local remote bounce -type f | wc -l'
step 'a remote delivery' './send s@x.test a@far.test; ./got'
step 'no host' './send s@x.test me; ./got'
step 'an empty recipient' './send s@x.test ""; ./got'
step 'an empty host' './send s@x.test me@; ./got'
step 'capitals in a local host' './send s@x.test Me@LOCAL.test; ./got'
step 'the last at sign counts' './send s@x.test a@b@me.test; ./got'
step 'a host below a local one' './send s@x.test a@sub.me.test; ./got'
step 'a virtual domain' './send s@x.test Any.One@virt.test; ./got'
step 'capitals in a virtual domain' './send s@x.test a@VIRT.test; ./got'
step 'a virtual subdomain' './send s@x.test a@b.wild.test; ./got'
step 'a subdomain of that' './send s@x.test a@c.b.wild.test; ./got'
step 'the wildcard does not take its own name' './send s@x.test a@wild.test; ./got'
step 'a virtual user' './send s@x.test user@one.test; ./got'
step 'another user of that domain' './send s@x.test other@one.test; ./got'
step 'an entry without a prefix is remote' './send s@x.test a@empty.test; ./got'
step 'the percent hack' './send s@x.test me%virt.test@pct.test; ./got'
step 'the percent hack twice' './send s@x.test a%far.test%pct.test@pct.test; ./got'
step 'the percent hack elsewhere' './send s@x.test me%virt.test@far.test; ./got'
step 'two recipients' './send s@x.test a@me.test b@far.test; ./got | grep -v status: | sort'
step 'no recipients' './send s@x.test; ./got'
step 'an unsafe report' './send s@x.test odd@me.test; ./got'
step 'unsafe addresses' './send "s
%é@x" "a b%	@me.test"; ./got'
step 'a report with an unknown letter' '{ printf "Fs@x.test\0Trubbish@me.test\0\0" >env; qmail-queue <tidy 1<env; ./lines 1 ^delivery; ./got; }'
touch ok; kill -ALRM $send
./lines 1 "^end msg"
rm ok; ./got >/dev/null
step 'a failure bounces' 'ENDS=2 ./send s@me.test fail@me.test; ./got'
step 'a failure of two' 'ENDS=2 ./send s@me.test fail@me.test fail2@far.test; ./got | grep -v status: | sort'
step 'one failure one success' 'ENDS=2 ./send s@me.test fail@virt.test a@me.test; ./got | grep -v status: | sort'
step 'a bounce that bounces' 'ENDS=3 ./send fail@me.test fail@me.test; ./got'
echo fail@me.test | cut -d@ -f1 >"$HOMEDIR/control/doublebounceto"
step 'a failure without a sender' 'ENDS=2 ./send "" fail@me.test; ./got'
step 'a sender of lists' 'ENDS=2 ./send "list-@me.test-@[]" fail@me.test; ./got'
step 'each recipient has a sender of its own' './send "list-@me.test-@[]" a@far.test b@me.test; ./got | grep -v status: | sort'
step 'a deferral' 'printf "Fs@x.test\0Twait@me.test\0Ta@me.test\0\0" >env; qmail-queue <tidy 1<env; ./lines 2 ^delivery; ./got | grep -v status: | sort'
step 'is in the queue' 'qmail-qread | sed "s/#[0-9]*  [0-9]*/#ID  N/"; cat $q/local/*/* | tr "\0" "\n"; stat -c %a $q/local/*/* $q/info/*/* | sort -u'
kill -ALRM $send; ./lines 1 ^delivery
step 'ALRM tries again at once' './got | grep -v status: | sort'
touch ok
kill -ALRM $send; ./lines 1 "^end msg"
step 'and then it is done' './got | grep -v status: | sort'
echo 'new.test:me' >"$HOMEDIR/control/virtualdomains"
printf 'other.test\n' >"$HOMEDIR/control/locals"
kill -HUP $send; ./calm
step 'HUP reads virtualdomains and locals' './send s@x.test a@new.test b@virt.test c@other.test d@me.test; ./got | grep -a "<" | sort'
stop
step 'TERM ends it' './got | tail -2; cat pid.code'
echo 1 >"$HOMEDIR/control/concurrencylocal"; echo 300 >"$HOMEDIR/control/concurrencyremote"
start
step 'concurrency' 'tail -1 log'
: >orders; echo 0 >seen2; wc -l <log >seen
step 'TERM waits for a delivery under way' 'printf "Fs\0Theld@me.test\0\0" >env; qmail-queue <tidy 1<env; until grep -q held orders; do sleep 0.02; done; kill -TERM $send; ./calm; touch go; until test -s pid.code; do sleep 0.05; done; ./got; cat pid.code'
echo 0 >"$HOMEDIR/control/queuelifetime"
echo 20 >"$HOMEDIR/control/concurrencylocal"
echo me.test >"$HOMEDIR/control/locals"
echo fail >"$HOMEDIR/control/doublebounceto"
rm -f ok; rm -f $q/mess/*/* $q/info/*/* $q/local/*/* $q/remote/*/* $q/bounce/* $q/todo/* $q/intd/*
start
wc -l <log >seen; wc -l <orders >seen2
step 'a triple bounce' 'ENDS=3 ./send fail@me.test fail@me.test; ./got'
step 'a failure of a double bounce' './send "#@[]" fail@me.test; ./got'
ENDS=1 ./send wait@me.test fail@me.test me@me.test latefail@far.test
./lines 4 ^delivery
step 'the text of a bounce' 'cat $(grep -l "failure notice" $q/mess/*/*) | tail -n +2'
touch ok
kill -ALRM $send; ./lines 2 "^end msg"
rm ok
wc -l <log >seen; wc -l <orders >seen2
printf 'Fs@me.test\0Twait@me.test\0\0' >env; qmail-queue <tidy 1<env
./lines 1 ^delivery
sleep 2.2
kill -ALRM $send; ./lines 2 "^end msg"
step 'the end of the lifetime' './got'
stop
rm "$HOMEDIR/control/me" "$HOMEDIR/control/locals"
step 'without me and locals' 'qmail-send </dev/null 0>&1'
