# rblsmtpd: lists in the DNS, and the variable.
# programs: rblsmtpd
# needs: root have-python3
# mask: pid

# The original asks again and again for eleven seconds.
LIMIT=30
put zone <<Z
2.2.0.192.bl.test TXT listed: see http://bl.test/
2.2.0.192.bl.test A 127.0.0.2
2.2.0.192.other.test TXT other text
3.2.0.192.bl.test TXT odd\x01\xe9\ttext
4.2.0.192.bl.test TXT one,
4.2.0.192.bl.test TXT two
5.2.0.192.bl.test TXT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab
6.2.0.192.bl.test A 127.0.0.2
7.2.0.192.bl.test TXT
2.2.0.192.wl.test A 127.0.0.2
3.2.0.192.wl.test TXT only a text
2.2.0.192.fail.test FAIL
Z
python3 "$SUITE/dns.py" $DNSADDRESS zone &
server=$!
await 'test -e zone.asked'
DNSCACHEIP=$DNSADDRESS; export DNSCACHEIP

# at ADDRESS options...: what a client says that only leaves
cat >at <<'S'
ip=$1; shift
printf 'quit\r\n' | TCPREMOTEIP=$ip rblsmtpd "$@" echo ran
S
step 'listed' 'sh at 192.0.2.2 -r bl.test'
step 'not listed' 'sh at 192.0.2.9 -r bl.test'
step 'b refuses for good' 'sh at 192.0.2.2 -b -r bl.test'
step 'b after the list is too late' 'sh at 192.0.2.2 -r bl.test -b'
step 'B takes b back' 'sh at 192.0.2.2 -b -B -r bl.test'
step 'b holds for the second list' 'sh at 192.0.2.2 -r nosuch.test -b -r bl.test'
step 'the first list that knows it' 'sh at 192.0.2.2 -r other.test -r bl.test'
step 'the second list' 'sh at 192.0.2.3 -r other.test -r bl.test'
step 'odd bytes in the text' 'sh at 192.0.2.3 -r bl.test'
step 'two records' 'sh at 192.0.2.4 -r bl.test'
step 'a long text is cut' 'sh at 192.0.2.5 -r bl.test'
step 'an address is no text' 'sh at 192.0.2.6 -r bl.test'
step 'an empty text' 'sh at 192.0.2.7 -r bl.test'
step 'welcome before the list' 'sh at 192.0.2.2 -a wl.test -r bl.test'
step 'welcome after the list is too late' 'sh at 192.0.2.2 -r bl.test -a wl.test'
step 'a text is no welcome' 'sh at 192.0.2.3 -a wl.test -r bl.test'
step 'nobody welcomes' 'sh at 192.0.2.3 -a nosuch.test -r bl.test'
step 'a list that fails' 'sh at 192.0.2.2 -r fail.test'
step 'a list that fails and one that does not' 'sh at 192.0.2.2 -r fail.test -r bl.test'
step 'after trouble nothing is for good' 'sh at 192.0.2.2 -b -r fail.test -r bl.test'
step 'c refuses on trouble' 'sh at 192.0.2.2 -c -r fail.test -r bl.test'
step 'c refuses on trouble and not for good' 'sh at 192.0.2.2 -c -b -r fail.test'
step 'c after the list is too late' 'sh at 192.0.2.2 -r fail.test -c'
step 'C takes c back' 'sh at 192.0.2.2 -c -C -r fail.test'
step 'trouble welcomes' 'sh at 192.0.2.2 -a fail.test -r bl.test'
step 'trouble does not welcome with c' 'sh at 192.0.2.2 -c -a fail.test -r bl.test'
step 'trouble with c and b' 'sh at 192.0.2.2 -c -b -a fail.test -r bl.test'
step 'a base with a dot at the end' 'sh at 192.0.2.2 -r bl.test.'
step 'a base that is no name' 'sh at 192.0.2.2 -r bl..test'
step 'options in one word' 'sh at 192.0.2.2 -bcrbl.test'
step 'an address that is none' 'sh at unknown -r bl.test'
step 'the variable is stronger than a list' 'RBLSMTPD=mine sh at 192.0.2.2 -r bl.test'
step 'the empty variable too' 'RBLSMTPD= sh at 192.0.2.2 -r bl.test'
step 'a lone dash' 'RBLSMTPD=- sh at 192.0.2.2'
step 'no time is one line' 'sh at 192.0.2.2 -t 0 -r bl.test'
step 'a time that is none is one line' 'sh at 192.0.2.2 -t x -r bl.test'
step 'a time with rubbish' 'sh at 192.0.2.2 -t 5x -r bl.test'
step 'a program that is not there' 'TCPREMOTEIP=192.0.2.9 rblsmtpd -r bl.test ./nosuch'
step 'a list needs a base' 'rblsmtpd -r'
step 'an option without program' 'rblsmtpd -r bl.test'
step 'a program that looks like an option' 'TCPREMOTEIP=192.0.2.9 rblsmtpd -b -- echo -b'
step 'the environment passes' 'X=y TCPREMOTEIP=192.0.2.9 RBLSMTPD= rblsmtpd sh -c "echo \$X \$TCPREMOTEIP"'
step 'the usual questions' 'sort -u zone.asked | grep "^9\.2"'
put talk <<'S'
printf "$1" | TCPREMOTEIP=192.0.2.2 RBLSMTPD=no rblsmtpd echo ran
S
step 'capital letters' 'sh talk "HELO X\r\nMAIL FROM:<A>\r\nRCPT TO:<B>\r\nRSET\r\nNOOP\r\nQUIT\r\n"'
step 'lines without CR' 'sh talk "ehlo x\nmail\nquit\n"'
step 'a CR inside' 'sh talk "quit\rx\nnoop\rx\nquit\r\n"'
step 'an empty line' 'sh talk "\r\n\nquit\r\n"'
step 'a blank first' 'sh talk " quit\r\nquit\r\n"'
step 'a tab after the command' 'sh talk "quit\tx\r\nquit\r\n"'
step 'a NUL is no end' 'sh talk "quit\000x\r\nquit\r\n"'
step 'nothing after quit' 'sh talk "quit\r\nnoop\r\n"'
step 'a line without end' 'sh talk "noop"'
step 'no input' 'sh talk ""'
step 'a long line' '(printf "noop "; head -c 100000 /dev/zero | tr "\0" x; printf "\nquit\r\n") | TCPREMOTEIP=192.0.2.2 RBLSMTPD=no rblsmtpd echo ran'
step 'standard input closed' 'TCPREMOTEIP=192.0.2.2 RBLSMTPD=no rblsmtpd echo ran <&-'
step 'no log' 'echo quit | TCPREMOTEIP=192.0.2.2 RBLSMTPD=no rblsmtpd echo ran 2>&-'
kill $server; wait $server 2>/dev/null
