# mailsubj, qreceipt, qbiff.
# programs: mailsubj qreceipt qbiff qmail-inject sendmail predate
# needs: home user
# mask: date messageid pid

echo me.test >"$HOMEDIR/control/me"
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
USER=joe; export USER
put q <<'X'
#!/bin/sh
rm -f q.env q.msg
"$@"
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
chmod 755 q
PATH=$PWD:$PATH; export PATH
step 'mailsubj' 'echo body | q mailsubj hello a@b.test'
step 'mailsubj without a recipient' 'echo body | q mailsubj hello'
step 'mailsubj with two recipients' 'echo body | q mailsubj "two words" a@b.test c@d.test'
step 'qreceipt without arguments' 'qreceipt </dev/null'
SENDER=s@x.test QMAILUSER=joe; export SENDER
step 'qreceipt a message that asks for nothing' 'printf "Subject: x\nFrom: a@b\n\nbody\n" | q qreceipt me@me.test'
step 'qreceipt a message that asks' 'printf "Subject: x\nFrom: a@b\nMessage-ID: <1@b>\nDate: today\nNotice-Requested-Upon-Delivery-To: me@me.test\n\nbody\n" | q qreceipt me@me.test'
step 'qreceipt a message that asks somebody else' 'printf "From: a@b\nNotice-Requested-Upon-Delivery-To: you@me.test\n\nbody\n" | q qreceipt me@me.test'
step 'qreceipt without a sender' 'unset SENDER; printf "From: a@b\nNotice-Requested-Upon-Delivery-To: me@me.test\n\nbody\n" | q qreceipt me@me.test'
step 'qbiff' 'printf "Subject: x\n\nbody\n" | qbiff'
step 'qbiff without a user' 'unset USER; printf "Subject: x\n\nbody\n" | qbiff'
step 'qbiff without a sender' 'unset SENDER; printf "Subject: x\n\nbody\n" | qbiff'
