# qmail-smtpd: the dialogue.
# programs: qmail-smtpd
# needs: home
# mask: date time pid

cd "$HOMEDIR/control"
echo me.test >me
printf 'in.test\n.sub.test\n' >rcpthosts
printf 'bad@b.test\n@evil.test\n' >badmailfrom
cd "$SCRATCH/w"
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
test ! -f "$SCRATCH/w/q.code" || exit "$(cat "$SCRATCH/w/q.code")"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
TCPREMOTEIP=192.0.2.9 TCPREMOTEHOST=c.test TCPLOCALHOST=l.test TCPLOCALIP=192.0.2.1
export TCPREMOTEIP TCPREMOTEHOST TCPLOCALHOST TCPLOCALIP
# s 'LINES': a session of these lines, each ended by CR LF
put s <<'X'
#!/bin/sh
rm -f q.env q.msg
printf "$(printf '%s' "$1" | sed 's/|/\\r\\n/g')\r\n" | qmail-smtpd
X
# d LINES: the same after the envelope, and what was taken into the queue
put d <<'X'
#!/bin/sh
rm -f q.env q.msg
printf "helo h.test\r\nmail from:<a@b>\r\nrcpt to:<c@in.test>\r\ndata\r\n$1" | qmail-smtpd >said
tail -n +5 said
grep -q "ok [0-9]* qp" said && { cat q.env; echo; cat q.msg; }
true
X
chmod 755 s d
PATH=$PWD:$PATH; export PATH

step 'greets and leaves' 's quit'
step 'arguments are ignored' 'printf "quit\r\n" | qmail-smtpd a b'
step 'no input' 'qmail-smtpd'
step 'standard input closed' 'qmail-smtpd <&-'
step 'standard output closed' 'echo quit | qmail-smtpd >&-'
step 'a line feed alone ends a command' 'printf "noop\nquit\n" | qmail-smtpd'
step 'commands in any case' 's "NoOp|QuIt"'
step 'an unknown command' 's "frob|quit"'
step 'an empty command' 's "|quit"'
step 'blanks before a command' 's " noop|quit"'
step 'helo' 's "helo h.test|quit"'
step 'helo without a name' 's "helo|quit"'
step 'ehlo' 's "ehlo h.test|quit"'
step 'noop help vrfy rset expn turn' 's "noop|noop x|help|vrfy a|rset|expn a|turn|etrn x|auth plain|starttls|quit"'
step 'mail without helo' 's "mail from:<a@b>|quit"'
step 'mail in brackets' 's "mail from:<>|mail from:<a@b>|mail from: <a@b>|mail from:<a@b> size=100|MAIL FROM:<A@B>|quit"'
step 'mail without brackets' 's "mail from:a@b|quit"'
step 'mail without from' 's "mail <a@b>|mail a@b|mail to:<a@b>|quit"'
step 'mail without an address' 's "mail from|mail from:|mail|quit"'
step 'mail with one bracket' 's "mail from:<a@b|quit"'
step 'rcpt in brackets' 's "mail from:<>|rcpt to:<a@in.test>|rcpt to: <a@in.test>|rcpt to:<@x,@y:a@in.test>|RCPT TO:<a@in.test>|quit"'
step 'rcpt without brackets' 's "mail from:<>|rcpt to:a@in.test|quit"'
step 'rcpt with a parameter' 's "mail from:<>|rcpt to:<a@in.test> x=y|quit"'
step 'rcpt without a host' 's "mail from:<>|rcpt to:<a>|quit"'
step 'rcpt postmaster' 's "mail from:<>|rcpt to:<postmaster>|rcpt to:<PostMaster>|quit"'
step 'rcpt without an address' 's "mail from:<>|rcpt to:<>|rcpt to|rcpt to:|rcpt|quit"'
step 'rcpt with a blank' 's "mail from:<>|rcpt to:<a b@in.test>|quit"'
step 'rcpt with quotes' 'printf "mail from:<>\r\nrcpt to:<\"a b\"@in.test>\r\nrcpt to:<a\\\\ b@in.test>\r\ndata\r\n.\r\nquit\r\n" | qmail-smtpd; cat q.env; echo'
step 'rcpt before mail' 's "rcpt to:<a@in.test>|quit"'
step 'data before rcpt' 's "data|mail from:<>|data|quit"'
step 'rset forgets' 's "mail from:<>|rset|rcpt to:<a@in.test>|quit"'
step 'helo forgets' 's "mail from:<>|helo x|rcpt to:<a@in.test>|quit"'
step 'a second mail forgets the recipients' 's "mail from:<>|rcpt to:<a@in.test>|mail from:<>|data|quit"'
step 'hosts that are taken' 's "mail from:<>|rcpt to:<a@IN.test>|rcpt to:<a@x.sub.test>|rcpt to:<a%%x@in.test>|quit"'
step 'hosts that are not' 's "mail from:<>|rcpt to:<a@sub.test>|rcpt to:<a@x.in.test>|rcpt to:<a@other.test>|quit"'
step 'a dot at the end of a host' 's "mail from:<>|rcpt to:<a@in.test.>|quit"'
step 'two at signs' 's "mail from:<>|rcpt to:<a@b@in.test>|quit"'
step 'a relay client' 'RELAYCLIENT= s "mail from:<>|rcpt to:<a@other.test>|quit"'
step 'a relay client with a suffix' 'RELAYCLIENT=@gate.test s "mail from:<>|rcpt to:<a@other.test>|data|x|.|quit"; cat q.env; echo'
step 'senders that are refused' 's "mail from:<bad@b.test>|rcpt to:<a@in.test>|mail from:<x@EVIL.test>|rcpt to:<a@in.test>|mail from:<BAD@b.test>|rcpt to:<a@in.test>|quit"'
step 'and then data' 's "mail from:<bad@b.test>|rcpt to:<a@in.test>|data|quit"'
step 'an address of our own number' 's "mail from:<>|rcpt to:<a@[127.0.0.1]>|rcpt to:<a@[192.0.2.77]>|quit"'
step 'an address of 900 bytes' 's "mail from:<$(head -c 898 /dev/zero | tr "\0" x)@y>|quit"'
step 'of 901' 's "mail from:<$(head -c 899 /dev/zero | tr "\0" x)@y>|quit"'
step 'data' 'd "Subject: x\r\n\r\nbody\r\n.\r\nquit\r\n"'
step 'an empty message' 'd ".\r\nquit\r\n"'
step 'dots are taken off' 'd "a\r\n..b\r\n...\r\n.c\r\n.\r\nquit\r\n"'
step 'a dot in the middle' 'd "a.\r\nb .\r\n.\r\nquit\r\n"'
step 'a carriage return alone' 'd "a\rb\r\n\r\r\n.\r\nquit\r\n"'
step 'a carriage return and a dot' 'd "a\r.\r\n.\r\nquit\r\n"'
step 'NUL in a message' 'd "a\\000b\r\n.\r\nquit\r\n"'
step 'a bare line feed' 'd "a\nb\r\n.\r\nquit\r\n"'
step 'a bare line feed at the start' 'd "\n.\r\nquit\r\n"'
step 'dot with a bare line feed' 'd "a\r\n.\nquit\r\n"'
step 'a bare line feed and a dot' 'd "a\n.\r\nquit\r\n"'
step 'the end without its dot' 'd "a\r\n"'
step 'two messages' 'd "one\r\n.\r\nmail from:<>\r\nrcpt to:<e@in.test>\r\ndata\r\ntwo\r\n.\r\nquit\r\n"'
step 'after data there is no sender' 'd ".\r\nrcpt to:<a@in.test>\r\nquit\r\n"'
step 'a hundred hops' '(printf "mail from:<>\r\nrcpt to:<c@in.test>\r\ndata\r\n"; for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do printf "received: x\r\n"; done; done; printf ".\r\nquit\r\n") | qmail-smtpd | tail -2'
step 'ninety-nine hops' '(printf "mail from:<>\r\nrcpt to:<c@in.test>\r\ndata\r\n"; for i in 0 1 2 3 4 5 6 7 8; do for j in 0 1 2 3 4 5 6 7 8 9 a; do printf "Delivered-To: x\r\n"; done; done; printf ".\r\nquit\r\n") | qmail-smtpd | tail -2'
step 'hops in the body do not count' '(printf "mail from:<>\r\nrcpt to:<c@in.test>\r\ndata\r\n\r\n"; for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9 a; do printf "received: x\r\n"; done; done; printf ".\r\nquit\r\n") | qmail-smtpd | tail -2'
step 'a field that begins like Received' '(printf "mail from:<>\r\nrcpt to:<c@in.test>\r\ndata\r\n"; for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do printf "Receivedness: x\r\n"; done; done; printf ".\r\nquit\r\n") | qmail-smtpd | tail -2'
step 'a size limit' 'DATABYTES=5 d "123456\r\n.\r\nquit\r\n"'
step 'within the limit' 'DATABYTES=8 d "123456\r\n.\r\nquit\r\n"'
step 'one over the limit' 'DATABYTES=6 d "123456\r\n.\r\nquit\r\n"'
step 'the limit of the control file' 'echo 3 >$HOMEDIR/control/databytes; d "123456\r\n.\r\nquit\r\n"'
step 'the environment goes before it' 'DATABYTES=0 d "123456\r\n.\r\nquit\r\n"; rm $HOMEDIR/control/databytes'
step 'the Received line knows ident' 'TCPREMOTEINFO=who d ".\r\nquit\r\n"'
step 'and leaves out what is the same' 'TCPREMOTEHOST=h.test d ".\r\nquit\r\n"'
step 'without the environment' 'unset TCPREMOTEHOST TCPREMOTEIP TCPREMOTEINFO TCPLOCALHOST TCPLOCALIP; d ".\r\nquit\r\n"'
step 'without a local name' 'unset TCPLOCALHOST; d ".\r\nquit\r\n"'
step 'odd bytes in the environment' 'TCPREMOTEINFO="a b(c)\"" TCPREMOTEHOST="x
y" d ".\r\nquit\r\n"'
step 'odd bytes in helo' 's "helo a(b) c|mail from:<>|rcpt to:<a@in.test>|data|.|quit"; cat q.msg'
for code in 11 31 51 52 53 54 55 56 61 66 71 72 73 74 81 91 99 115 120; do
	echo $code >q.code
	step "the queue program ends with $code" 's "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
done
rm q.code
put queue82 <<'X'
#!/bin/sh
cat >/dev/null; cat <&1 >/dev/null
printf '%s' "$TEXT" >&6
exit 82
X
chmod 755 queue82
step 'code 82 with a text' 'TEXT="Dgo away" QMAILQUEUE=$PWD/queue82 s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'code 82 with a temporary text' 'TEXT="Zlater" QMAILQUEUE=$PWD/queue82 s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'code 82 without a text' 'TEXT= QMAILQUEUE=$PWD/queue82 s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'code 82 with another letter' 'TEXT=Kfine QMAILQUEUE=$PWD/queue82 s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'a queue program that is not there' 'QMAILQUEUE=/no/such s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'a queue program killed' 'printf "#!/bin/sh\nkill -9 \$\$\n" >k; chmod 755 k; QMAILQUEUE=$PWD/k s "mail from:<>|rcpt to:<a@in.test>|data|.|quit" | tail -2'
step 'a greeting of its own' 'echo "hello there " >$HOMEDIR/control/smtpgreeting; s "helo x|ehlo x|quit"; rm $HOMEDIR/control/smtpgreeting'
step 'time is up' 'echo 1 >$HOMEDIR/control/timeoutsmtpd; (sleep 2) | qmail-smtpd; rm $HOMEDIR/control/timeoutsmtpd'
step 'a limit that is no number' 'echo x >$HOMEDIR/control/timeoutsmtpd; s quit; rm $HOMEDIR/control/timeoutsmtpd'
step 'a limit of none' 'echo 0 >$HOMEDIR/control/timeoutsmtpd; s quit; rm $HOMEDIR/control/timeoutsmtpd'
step 'no rcpthosts is an open relay' 'rm $HOMEDIR/control/rcpthosts; s "mail from:<>|rcpt to:<a@other.test>|quit"'
step 'an empty rcpthosts' ': >$HOMEDIR/control/rcpthosts; s "mail from:<>|rcpt to:<a@other.test>|rcpt to:<a>|quit"'
step 'rcpthosts is a directory' 'rm $HOMEDIR/control/rcpthosts; mkdir $HOMEDIR/control/rcpthosts; s quit; rmdir $HOMEDIR/control/rcpthosts'
step 'without me' 'rm $HOMEDIR/control/me; s quit'
step 'without control' 'mv $HOMEDIR/control $HOMEDIR/c; s quit; mv $HOMEDIR/c $HOMEDIR/control'
