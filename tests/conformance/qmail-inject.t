# qmail-inject: headers, recipients, envelope.
# programs: qmail-inject
# needs: home
# mask: date messageid

cd "$HOMEDIR/control"
echo me.test >me; echo dh.test >defaulthost; echo dd.test >defaultdomain; echo pd.test >plusdomain; echo id.test >idhost
cd "$SCRATCH/w"
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
test ! -f "$SCRATCH/w/q.code" || exit "$(cat "$SCRATCH/w/q.code")"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
USER=joe; export USER
put body <<'X'

body
X
# i LINES ARGS: inject LINES and a body, show what was queued
put i <<'X'
#!/bin/sh
rm -f q.env q.msg
h=$1; shift
printf "$h\nbody\n" | qmail-inject "$@"
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
# n LINES ARGS: the same with -n
put n <<'X'
#!/bin/sh
h=$1; shift
printf "$h\nbody\n" | qmail-inject -n "$@"
X
# e LINES ARGS: the envelope only
put e <<'X'
#!/bin/sh
rm -f q.env
h=$1; shift
printf "$h\nbody\n" | qmail-inject "$@" || exit
cat q.env; echo
X
chmod 755 i n e
PATH=$PWD:$PATH; export PATH

step 'a small message' 'i "To: a@b.test\n"'
step 'n only prints' 'n "To: a@b.test\n"'
step 'empty input' 'qmail-inject -n </dev/null'
step 'empty input with a recipient' 'qmail-inject a@b.test </dev/null; cat q.env; echo'
step 'no recipient at all' 'qmail-inject </dev/null'
step 'no recipient in the header' 'i "Subject: x\n"'
step 'standard input closed' 'qmail-inject -n <&-'
step 'standard output closed' 'echo | qmail-inject -n >&-'
step 'unknown options' 'echo | qmail-inject -x'
step 'f lacks its argument' 'echo | qmail-inject -f'
step 'recipients from the arguments' 'e "To: t@t.test\nCc: c@c.test\n" x@y.test z@w.test'
step 'a adds nothing from the header' 'e "To: t@t.test\n" -a x@y.test'
step 'a without arguments' 'e "To: t@t.test\n" -a'
step 'h ignores the arguments' 'e "To: t@t.test\nBcc: b@b.test\n" -h x@y.test'
step 'H takes both' 'e "To: t@t.test\nBcc: b@b.test\n" -H x@y.test'
step 'A is the default' 'e "To: t@t.test\n" -A x@y.test'
step 'Bcc with h goes' 'n "To: t@t.test\nBcc: b@b.test\n" -h'
step 'Bcc goes in any case' 'n "To: t@t.test\nBcc: b@b.test\n" x@y.test'
step 'Bcc only' 'i "Bcc: b@b.test\n"'
step 'Resent fields win' 'e "To: t@t.test\nResent-To: r@r.test\nResent-Cc: q@r.test\n"'
step 'Resent-Bcc' 'i "To: t@t.test\nResent-Bcc: r@r.test\n"'
step 'Apparently-To' 'e "Apparently-To: t@t.test\n"'
step 'a field twice' 'e "To: a@a.test\nTo: b@b.test\n"'
step 'Return-Path sets the sender' 'i "Return-Path: <r@p.test>\nTo: t@t.test\n"'
step 'an empty Return-Path' 'e "Return-Path: <>\nTo: t@t.test\n"'
step 'f sets the sender' 'i "To: t@t.test\n" -fs@f.test'
step 'f and Return-Path' 'e "Return-Path: <r@p.test>\nTo: t@t.test\n" -fs@f.test'
step 'an empty f' 'e "To: t@t.test\n" -f ""'
step 'f without a host' 'e "To: t@t.test\n" -fjoan'
step 'f with blanks and a name' 'e "To: t@t.test\n" "-fJoan <j@h.test>"'
step 'f takes the first of a list' 'e "To: t@t.test\n" "-fa@a.test, b@b.test"'
step 'hosts are completed' 'e "To: a, b@c, d@e+, f@g.h, i@j+.k\n"'
step 'and in the text too' 'n "To: a, b@c, d@e+, f@g.h\nFrom: me\n"'
step 'host with an ending dot' 'e "To: a@b.\n"'
step 'a literal address' 'e "To: a@[127.0.0.1]\n"'
step 'a quoted local part' 'i "To: \"a b\"@c.test\n"'
step 'names and comments' 'i "To: Joe (the one) Doe <j@d.test>, (x) y@z.test (w)\n"'
step 'a group' 'i "To: friends: a@a.test, b@b.test;, c@c.test\n"'
step 'an empty group' 'i "To: nobody: ;\nCc: c@c.test\n"'
step 'a source route' 'e "To: <@a.test,@b.test:c@d.test>\n"'
step 'a folded field' 'i "To: a@a.test,\n b@b.test\n"'
step 'no commas' 'i "To: a@a.test b@b.test\n"'
step 'double commas' 'e "To: a@a.test,,b@b.test,\n"'
step 'a field that cannot be read' 'i "To: \"a@b.test\n"'
step 'an address that cannot be read' 'i "To: a@@b\n"'
step 'a lone bracket' 'e "To: <a@b.test\n"'
step 'an empty To' 'i "To:\n"'
step 'a blank before the colon' 'n "To : a@b.test\nSubject : s\n"'
step 'a tab after the colon' 'n "Subject:\tx\nTo:\ta@b.test\n"'
step 'the field name stays as written' 'n "tO: a@b.test\nDATE: x\nmessage-id: <y@z>\n"'
step 'Date stays' 'n "Date: 1 Jan 1999 00:00:00 -0000\nTo: a@b.test\n"'
step 'Message-ID stays' 'n "Message-ID: <a@b>\nTo: a@b.test\n"'
step 'Content-Length goes' 'n "Content-Length: 5\nTo: a@b.test\n"'
step 'Resent fields get theirs' 'n "Resent-To: r@r.test\nTo: a@b.test\nFrom: a@b\nDate: x\nMessage-ID: <y>\n"'
step 'a line that is no field' 'n "To: a@b.test\nno field here\n"'
step 'a From line of an mbox' 'n "From joe today\nTo: a@b.test\n"'
step 'a first line that is blank' 'printf " x\n\nbody\n" | qmail-inject -n a@b.test'
step 'no blank line' 'printf "To: a@b.test" | qmail-inject -n'
step 'body bytes pass' 'printf "To: a@b.test\n\na\000b\377\r\n.\n" | qmail-inject -n'
step 'no newline at the end' 'printf "To: a@b.test\n\nend" | qmail-inject -n'
step 'Received stays in front' 'n "Received: x\nTo: a@b.test\nReceived: y\n"'
step 'Mail-Followup-To' 'echo list@l.test >mft; QMAILMFTFILE=mft n "To: a@b.test, list@l.test\n"'
step 'Mail-Followup-To without the list' 'QMAILMFTFILE=mft n "To: a@b.test\n"'

step 'QMAILUSER and QMAILHOST' 'QMAILUSER=q QMAILHOST=h.test i "To: a@b.test\n"'
step 'MAILUSER and MAILHOST' 'MAILUSER=m MAILHOST=h.test e "To: a@b.test\n"'
step 'LOGNAME' 'unset USER; LOGNAME=log e "To: a@b.test\n"'
step 'no user at all' 'unset USER; e "To: a@b.test\n"'
step 'QMAILNAME' 'QMAILNAME="Joe Doe" n "To: a@b.test\n"'
step 'MAILNAME with a dot' 'MAILNAME="J. Doe" n "To: a@b.test\n"'
step 'NAME with a quote' 'NAME="a\"b" n "To: a@b.test\n"'
step 'QMAILSUSER and QMAILSHOST' 'QMAILSUSER=s QMAILSHOST=s.test i "To: a@b.test\n"'
step 'QMAILDEFAULTHOST and the others' 'QMAILDEFAULTHOST=1.t QMAILDEFAULTDOMAIN=2.t QMAILPLUSDOMAIN=3.t QMAILIDHOST=4.t i "To: a, b@c, d@e+\n"'
step 'QMAILINJECT c' 'QMAILNAME="Joe Doe" QMAILINJECT=c n "To: a@b.test\n"'
step 'QMAILINJECT s' 'QMAILINJECT=s e "Return-Path: <r@p.test>\nTo: a@b.test\n"'
step 'QMAILINJECT f' 'QMAILINJECT=f n "From: x@y.test\nTo: a@b.test\n"'
step 'QMAILINJECT i' 'QMAILINJECT=i n "Message-ID: <x>\nTo: a@b.test\n"'
step 'QMAILINJECT r' 'QMAILINJECT=r e "To: a@b.test\n"'
step 'QMAILINJECT m' 'QMAILINJECT=m e "To: a@b.test\n" | sed "s/joe-[0-9]*[.][0-9]*@/joe-STAMP@/"'
step 'an unknown letter in QMAILINJECT' 'QMAILINJECT=z e "To: a@b.test\n"'
step 'a From of several' 'n "From: a@a.test, b@b.test\nTo: c@c.test\n"'
step 'a Reply-To is completed' 'n "Reply-To: r\nSender: s\nErrors-To: e\nTo: a@b.test\n"'
step 'arguments are completed' 'e "Subject: x\n" joe jim@h "a b@c.test"'
step 'an empty argument' 'e "Subject: x\n" ""'
step 'an argument that cannot be read' 'e "Subject: x\n" "a@@b"'
step 'a longer list is folded' 'n "To: aaaaaaaaaaaaaaaaaaaa@aaaaaaaaa.test, bbbbbbbbbbbbbbbbbbbbbbb@bbbbbbbbb.test, cccccccccccccccccccc@ccccccccc.test\n"'
for code in 11 31 51 53 54 71 81 91 120; do
	echo $code >q.code
	step "the queue program ends with $code" 'e "To: a@b.test\n"'
done
rm q.code
step 'a queue program that is not there' 'QMAILQUEUE=/no/such/program e "To: a@b.test\n"'
rm $HOMEDIR/control/*
step 'without control files' 'e "To: a@b.test, c, d@e, f@g+\n"; n "Subject: x\n" | grep -E "From|Message-ID" | sed "s/.*@/@/"'
echo 'only.test  	' >$HOMEDIR/control/me
step 'me stands for the others' 'e "To: a@b.test, c, d@e, f@g+\n"'
step 'a control file that cannot be read' 'mkdir $HOMEDIR/control/defaulthost; e "To: a@b.test\n"'
