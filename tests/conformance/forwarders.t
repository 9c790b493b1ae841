# forward, bouncesaying, condredirect, except, preline: what .qmail files call.
# programs: forward bouncesaying condredirect except preline
# needs: home
# mask: pid time

put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
test ! -f "$SCRATCH/w/q.code" || exit "$(cat "$SCRATCH/w/q.code")"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
printf 'Subject: x\n\nbody\n' >msg
SENDER=s@x.test NEWSENDER=new@x.test DTLINE='Delivered-To: me@h.test
' RPLINE='Return-Path: <s@x.test>
' UFLINE='From s@x.test Thu Jan  1 00:00:00 1970
'
export SENDER NEWSENDER DTLINE RPLINE UFLINE
put q <<'X'
#!/bin/sh
rm -f q.env q.msg
"$@" <msg
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
chmod 755 q
PATH=$PWD:$PATH; export PATH

step 'forward without an address' 'forward <msg'
step 'forward to one' 'q forward a@b.test'
step 'forward to two' 'q forward a@b.test c@d.test'
step 'forward does not complete an address' 'q forward a'
step 'forward without NEWSENDER' 'unset NEWSENDER; q forward a@b'
step 'forward without DTLINE' 'unset DTLINE; q forward a@b'
step 'forward does not look for loops' 'printf "Delivered-To: me@h.test\n\n" | forward a@b'
step 'forward and a full queue' 'echo 53 >q.code; q forward a@b; c=$?; rm q.code; exit $c'
step 'forward and a refusal' 'echo 31 >q.code; q forward a@b; c=$?; rm q.code; exit $c'
step 'forward standard input closed' 'forward a@b <&-'
step 'bouncesaying without a text' 'bouncesaying <msg'
step 'bouncesaying a text' 'bouncesaying "go away" <msg'
step 'bouncesaying a command that succeeds' 'bouncesaying no true <msg'
step 'bouncesaying a command that fails' 'bouncesaying no false <msg'
step 'bouncesaying a command with 111' 'bouncesaying no sh -c "exit 111" <msg'
step 'bouncesaying a command with 100' 'bouncesaying no sh -c "exit 100" <msg'
step 'bouncesaying a command with 99' 'bouncesaying no sh -c "exit 99" <msg'
step 'bouncesaying a command killed' 'bouncesaying no sh -c "kill -9 \$\$" <msg'
step 'bouncesaying a command that is not there' 'bouncesaying no ./nosuch <msg'
step 'bouncesaying a command reads the message' 'bouncesaying no cat <msg'
step 'condredirect without arguments' 'condredirect'
step 'condredirect without a command' 'condredirect a@b'
step 'condredirect when the command succeeds' 'q condredirect a@b true'
step 'condredirect when it fails' 'q condredirect a@b false'
step 'condredirect when it says 111' 'q condredirect a@b sh -c "exit 111"'
step 'condredirect when it says 100' 'q condredirect a@b sh -c "exit 100"'
step 'condredirect when it is killed' 'q condredirect a@b sh -c "kill -9 \$\$"'
step 'condredirect a command that is not there' 'q condredirect a@b ./nosuch'
step 'condredirect the command may read' 'q condredirect a@b cat'
step 'condredirect takes SENDER' 'unset NEWSENDER; q condredirect a@b true'
step 'condredirect without SENDER' 'unset SENDER; q condredirect a@b true'
step 'condredirect without DTLINE' 'unset DTLINE; q condredirect a@b true'
step 'condredirect standard input not seekable' 'cat msg | condredirect a@b true'
step 'except without a command' 'except'
step 'except a command that succeeds' 'except true'
step 'except a command that fails' 'except false'
step 'except a command with 100' 'except sh -c "exit 100"'
step 'except a command with 111' 'except sh -c "exit 111"'
step 'except a command killed' 'except sh -c "kill -9 \$\$"'
step 'except a command that is not there' 'except ./nosuch'
step 'except a command reads the message' 'except cat <msg'
step 'preline without a command' 'preline'
step 'preline an unknown option' 'preline -x cat'
step 'preline puts three lines in front' 'preline cat <msg'
step 'preline without f' 'preline -f cat <msg'
step 'preline without r' 'preline -r cat <msg'
step 'preline without d' 'preline -d cat <msg'
step 'preline with all back' 'preline -frdFRD cat <msg'
step 'preline without UFLINE' 'unset UFLINE; preline cat <msg'
step 'preline without RPLINE' 'unset RPLINE; preline cat <msg'
step 'preline without DTLINE' 'unset DTLINE; preline cat <msg'
step 'preline hands on the exit code' 'preline sh -c "cat >/dev/null; exit 7" <msg'
step 'preline a command that does not read' 'preline true <msg'
step 'preline a command that is not there' 'preline ./nosuch <msg'
step 'preline a command that is killed' 'preline sh -c "cat >/dev/null; kill -9 \$\$" <msg'
step 'preline an empty message' 'preline cat </dev/null'
