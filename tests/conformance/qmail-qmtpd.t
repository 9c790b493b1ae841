# qmail-qmtpd, qmail-qmqpd, qmail-qmqpc: netstrings.
# programs: qmail-qmtpd qmail-qmqpd qmail-qmqpc
# needs: home
# mask: date time pid netstring

echo me.test >"$HOMEDIR/control/me"
echo in.test >"$HOMEDIR/control/rcpthosts"
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
test ! -f "$SCRATCH/w/q.code" || exit "$(cat "$SCRATCH/w/q.code")"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
TCPREMOTEIP=192.0.2.9 TCPREMOTEHOST=c.test TCPLOCALHOST=l.test
export TCPREMOTEIP TCPREMOTEHOST TCPLOCALHOST
put t <<'X'
#!/bin/sh
rm -f q.env q.msg
printf "$1" | qmail-qmtpd
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
put q <<'X'
#!/bin/sh
rm -f q.env q.msg
printf "$1" | qmail-qmqpd
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
chmod 755 t q
PATH=$PWD:$PATH; export PATH

step 'qmail-qmtpd without input' 'qmail-qmtpd'
step 'one message' 't "9:\nhi\nthere,3:a@b,12:9:c@in.test,,"'
step 'CR LF coding' 't "11:\rhi\r\nthere\r,3:a@b,12:9:c@in.test,,"'
step 'two recipients, one foreign' 't "4:\nhi\n,3:a@b,24:9:c@in.test,9:d@no.test,,"'
step 'a relay client' 'RELAYCLIENT= t "4:\nhi\n,3:a@b,12:9:d@no.test,,"'
step 'another first byte' 't "4:xhi\n,3:a@b,12:9:c@in.test,,"'
step 'an empty message' 't "0:,3:a@b,12:9:c@in.test,,"'
step 'no recipients' 't "4:\nhi\n,3:a@b,0:,"'
step 'an empty sender' 't "4:\nhi\n,0:,12:9:c@in.test,,"'
step 'a missing comma' 't "4:\nhi\n;3:a@b,12:9:c@in.test,,"'
step 'no number' 't "x:"'
step 'leading zeros' 't "0004:\nhi\n,3:a@b,12:9:c@in.test,,"'
step 'a huge number' 't "99999999999:"'
step 'an inner length that is too long' 't "4:\nhi\n,3:a@b,12:10:c@in.test,,"'
step 'too long an address' 't "4:\nhi\n,3:a@b,1014:1008:$(head -c 1000 /dev/zero | tr "\0" x)@in.test,,"'
step 'a size limit' 'DATABYTES=3 t "9:\nhi\nthere,3:a@b,12:9:c@in.test,,"'
step 'a full queue' 'echo 53 >q.code; t "4:\nhi\n,3:a@b,12:9:c@in.test,,"; rm q.code'
step 'a refusal' 'echo 31 >q.code; t "4:\nhi\n,3:a@b,12:9:c@in.test,,"; rm q.code'
step 'two messages' 't "4:\nhi\n,3:a@b,12:9:c@in.test,,4:\nho\n,0:,12:9:d@in.test,,"'
step 'ends in the middle' 't "4:\nhi\n,3:a@b,12:9:c@in"'
step 'NUL in an address' 't "4:\nhi\n,3:a@b,12:9:c\\000in.test,,"'
step 'standard input closed' 'qmail-qmtpd <&-'
step 'qmail-qmqpd without input' 'qmail-qmqpd'
step 'a message by QMQP' 'q "24:3:hi\n,3:a@b,9:c@no.test,,"'
step 'no recipients by QMQP' 'q "12:3:hi\n,3:a@b,,"'
step 'several by QMQP' 'q "36:3:hi\n,3:a@b,9:c@no.test,9:d@no.test,,"'
step 'a wrong outer length' 'q "20:3:hi\n,3:a@b,9:c@no.test,,"'
step 'rubbish by QMQP' 'q "hello"'
step 'a huge number by QMQP' 'q "99999999999:"'
step 'a full queue by QMQP' 'echo 53 >q.code; q "24:3:hi\n,3:a@b,9:c@no.test,,"; rm q.code'
step 'a refusal by QMQP' 'echo 31 >q.code; q "24:3:hi\n,3:a@b,9:c@no.test,,"; rm q.code'
step 'standard input closed, QMQP' 'qmail-qmqpd <&-'
printf 'Subject: x\n\nbody\n' >msg; printf 'Fs\0Tr\0\0' >env
step 'qmail-qmqpc without servers' 'qmail-qmqpc <msg 1<env'
step 'a server that is dead' 'echo 127.0.0.1 >$HOMEDIR/control/qmqpservers; qmail-qmqpc <msg 1<env'
step 'a server that is no address' 'echo nonsense >$HOMEDIR/control/qmqpservers; qmail-qmqpc <msg 1<env'
step 'qmail-qmqpc with a bad envelope' 'printf "Xs\0" >e; qmail-qmqpc <msg 1<e'
step 'qmail-qmqpc with an empty envelope' 'qmail-qmqpc <msg 1</dev/null'
step 'qmail-qmqpc standard input closed' 'qmail-qmqpc <&- 1<env'
