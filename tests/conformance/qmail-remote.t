# qmail-remote: one message to one host.
# programs: qmail-remote
# needs: home

cd "$HOMEDIR/control"
echo me.test >me
cd "$SCRATCH/w"
printf 'Subject: x\n\nbody\n' >msg
put script <<'X'
connect 220 sink.test ready
ehlo 502 not here
helo 250 sink.test
mail 250 sender ok
rcpt 250 recipient ok
data 354 go
. 250 taken
quit 221 bye
X
cp script script.good
python3 "$SUITE/server.py" port script record &
server=$!
await 'test -s port'
PORT=$(cat port); export PORT
echo "sink.test:127.0.0.1:$PORT" >"$HOMEDIR/control/smtproutes"
echo "lit.test:[127.0.0.1]:$PORT" >>"$HOMEDIR/control/smtproutes"
echo "dead.test:127.0.0.1:1" >>"$HOMEDIR/control/smtproutes"
echo ".wild.test:127.0.0.1:$PORT" >>"$HOMEDIR/control/smtproutes"
# r ARGS: the report, and what the server saw
put r <<'X'
#!/bin/sh
rm -f record
qmail-remote "$@" <"${MSG-msg}" | sed "s/:$PORT/:PORT/g"
echo
for try in 1 2 3 4 5 6 7 8 9 10 11 12; do test -f record && break; sleep 0.05; done
test -n "$QUIET" || cat record 2>/dev/null
X
# w 'WORD REPLY' ARGS: the same with one reply changed
put w <<'X'
#!/bin/sh
word=${1%% *}
{ grep -v -F "$word " script.good; printf '%s\n' "$1"; } >script
shift
QUIET=1 r "$@"
cp script.good script
X
chmod 755 r w
PATH=$PWD:$PATH; export PATH

step 'needs three arguments' 'qmail-remote'
step 'host and sender are not enough' 'qmail-remote sink.test s@x.test'
step 'delivers' 'r sink.test s@x.test a@sink.test'
step 'an empty sender' 'r sink.test "" a@sink.test'
step 'two recipients' 'r sink.test s@x.test a@sink.test b@sink.test'
step 'helohost' 'echo helo.test >$HOMEDIR/control/helohost; r sink.test s@x.test a@sink.test | grep -a HELO; rm $HOMEDIR/control/helohost'
step 'a wildcard route' 'QUIET=1 r a.wild.test s@x.test a@a.wild.test'
step 'host in capitals' 'QUIET=1 r SINK.test s@x.test a@sink.test'
step 'a literal in a route' 'QUIET=1 r lit.test s@x.test a@lit.test'
step 'nobody listens' 'QUIET=1 r dead.test s@x.test a@dead.test'
step 'dots are doubled' 'printf "a\n.b\n..\n" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'no newline at the end' 'printf "a\nb" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'an empty message' 'MSG=/dev/null r sink.test s@x.test a@sink.test'
step 'carriage returns in a message' 'printf "a\r\nb\rc\n\r\n" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'carriage returns around a dot' 'printf "a\r.\rMAIL FROM:<evil@x>\n" >m; MSG=m r sink.test s@x.test a@sink.test | grep -a -v QUIT'
step 'a carriage return and a dot' 'printf "a\r.b\n" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'a carriage return at the end' 'printf "a\nb\r" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'odd bytes' 'printf "a\000\377\n" >m; MSG=m r sink.test s@x.test a@sink.test'
step 'a quoted recipient' 'r sink.test s@x.test "a b@sink.test" | grep -a RCPT'
step 'a recipient without host' 'r sink.test s@x.test a | grep -a RCPT'
step 'a quoted sender' 'r sink.test "s t@x.test" a@sink.test | grep -a MAIL'
step 'a closing greeting' 'w "connect 554 go away" sink.test s@x.test a@sink.test'
step 'a temporary greeting' 'w "connect 421 later" sink.test s@x.test a@sink.test'
step 'a greeting of several lines' 'w "connect 220-one\n220-two\n220 three" sink.test s@x.test a@sink.test'
step 'no greeting' 'w "connect close" sink.test s@x.test a@sink.test'
step 'a greeting that is none' 'w "connect hello" sink.test s@x.test a@sink.test'
step 'helo refused' 'w "helo 550 no" sink.test s@x.test a@sink.test'
step 'helo refused for now' 'w "helo 450 no" sink.test s@x.test a@sink.test'
step 'mail refused' 'w "mail 550 no" sink.test s@x.test a@sink.test'
step 'mail refused for now' 'w "mail 450 no" sink.test s@x.test a@sink.test'
step 'rcpt refused' 'w "rcpt 550 no" sink.test s@x.test a@sink.test'
step 'rcpt refused for now' 'w "rcpt 450 no" sink.test s@x.test a@sink.test'
step 'rcpt with 251' 'w "rcpt 251 will forward" sink.test s@x.test a@sink.test'
step 'one of two refused' 'w "rcpt 550 no
rcpt 250 yes" sink.test s@x.test a@sink.test b@sink.test'
step 'both refused' 'w "rcpt 550 no" sink.test s@x.test a@sink.test b@sink.test'
step 'data refused' 'w "data 550 no" sink.test s@x.test a@sink.test'
step 'data refused for now' 'w "data 450 no" sink.test s@x.test a@sink.test'
step 'refused after the dot' 'w ". 554 no" sink.test s@x.test a@sink.test'
step 'refused for now after the dot' 'w ". 450 no" sink.test s@x.test a@sink.test'
step 'a reply of several lines after the dot' 'w ". 250-one\n250-two\n250 three" sink.test s@x.test a@sink.test'
step 'closed after the dot' 'w ". close" sink.test s@x.test a@sink.test'
step 'closed after mail' 'w "mail close" sink.test s@x.test a@sink.test'
step 'closed after rcpt' 'w "rcpt close" sink.test s@x.test a@sink.test'
step 'a reply without a number' 'w "mail ok" sink.test s@x.test a@sink.test'
step 'a reply above 599' 'w "mail 999 no" sink.test s@x.test a@sink.test'
step 'a reply of three digits only' 'w "mail 250" sink.test s@x.test a@sink.test'
step 'a reply with odd bytes' 'w "rcpt $(printf "550 a\001b\377c")" sink.test s@x.test a@sink.test'
step 'too slow' 'echo 1 >$HOMEDIR/control/timeoutremote; w "mail stall" sink.test s@x.test a@sink.test; rm $HOMEDIR/control/timeoutremote; sleep 2.5'
LIMIT=2
step 'standard input closed' 'qmail-remote sink.test s@x.test a@sink.test <&-'
LIMIT=10
step 'standard output closed' 'qmail-remote sink.test s@x.test a@sink.test >&- <msg'
step 'without me' 'rm $HOMEDIR/control/me; QUIET=1 r sink.test s@x.test a@sink.test'
step 'smtproutes is a directory' 'echo me.test >$HOMEDIR/control/me; rm $HOMEDIR/control/smtproutes; mkdir $HOMEDIR/control/smtproutes; QUIET=1 r sink.test s@x.test a@sink.test'
kill $server
