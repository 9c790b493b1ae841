# sendmail: its options in front of qmail-inject.
# programs: sendmail qmail-inject qmail-smtpd qmail-qread
# needs: home
# mask: date messageid time pid

cd "$HOMEDIR/control"
echo me.test >me; echo smtp.test >rcpthosts
cd "$SCRATCH/w"
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
USER=joe; export USER
# m ARGS: one message through sendmail, envelope and message
put m <<'X'
#!/bin/sh
rm -f q.env q.msg
printf "${MSG-To: t@t.test\nBcc: b@t.test\n\nbody\n}" | sendmail "$@"
c=$?
test -f q.env && { cat q.env; echo; cat q.msg; }
exit $c
X
# v ARGS: the envelope only
put v <<'X'
#!/bin/sh
rm -f q.env
printf "To: t@t.test\nBcc: b@t.test\n\nbody\n" | sendmail "$@"
c=$?
test -f q.env && { cat q.env; echo; }
exit $c
X
chmod 755 m v
PATH=$PWD:$PATH; export PATH

step 'one recipient' 'm a@b.test'
step 'several' 'v a@b.test c@d.test'
step 'none' 'm'
step 't takes them from the header' 'm -t'
step 't and an argument' 'v -t a@b.test'
step 'f sets the sender' 'm -fs@f.test a@b.test'
step 'f with a blank' 'v -f s@f.test a@b.test'
step 'r is f' 'v -r s@f.test a@b.test'
step 'an empty f' 'm -f "" a@b.test'
step 'f with brackets' 'v -f "<>" a@b.test'
step 'f without a host' 'm -f joan a@b.test'
step 'F names the sender' 'm -F "Joe Doe" a@b.test'
step 'f and F' 'm -F "Joe Doe" -f s@f.test a@b.test'
step 'i' 'v -i a@b.test'
step 'oi and other o' 'v -oi -oem -odb -o7 a@b.test'
step 'om' 'v -om -oMrfoo a@b.test'
step 'v' 'v -v a@b.test'
step 'm' 'v -m a@b.test'
step 'e' 'v -em a@b.test'
step 'B' 'v -B8BITMIME a@b.test'
step 'x' 'v -x a@b.test'
step 'E and J' 'v -E -J a@b.test'
step 'p with a protocol' 'v -p SMTP:h a@b.test'
step 'bm' 'v -bm a@b.test'
step 'many in one word' 'v -oi -ti'
step 'N of other sendmails' 'v -N never a@b.test'
step 'an unknown option' 'v -y a@b.test'
step 'an option lacks its argument' 'v -f'
step 'bd' 'v -bd'
step 'bi' 'v -bi'
step 'bt' 'v -bt'
step 'bv' 'v -bv a@b.test'
step 'bp lists the queue' 'v -bp'
step 'bs speaks SMTP' 'printf "quit\r\n" | sendmail -bs'
step 'bs may relay' 'printf "mail from:<a@b>\r\nrcpt to:<c@d>\r\ndata\r\nx\r\n.\r\nquit\r\n" | sendmail -bs; cat q.env; echo; cat q.msg'
step 'bs behind a server may not' 'printf "mail from:<a@b>\r\nrcpt to:<c@d>\r\nquit\r\n" | PROTO=TCP sendmail -bs'
step 'q' 'v -q a@b.test'
step 'q30m' 'v -q30m'
ln -s "$(command -v sendmail)" mailq; ln -s "$(command -v sendmail)" newaliases
step 'called mailq' './mailq'
step 'called newaliases' './newaliases'
step 'arguments after two dashes' 'v -t -- -a@b.test'
step 'a lone dot does not end the message' 'MSG="To: a@b.test\n\nx\n.\ny\n" m a@b.test'
step 'carriage returns' 'MSG="To: a@b.test\r\n\r\nx\r\n" m a@b.test'
step 'options after recipients' 'v a@b.test -fs@f.test'
step 'QMAILINJECT counts' 'QMAILINJECT=f v a@b.test'
