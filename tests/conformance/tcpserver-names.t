# tcpserver and tcpclient: names of both sides, users, and the rules for them.
# programs: tcpserver tcpclient tcprules
# needs: root have-python3 have-socat
# mask: pid port

# The original asks again and again for eleven seconds.
LIMIT=30
mine=$(echo "$PEER" | awk -F. '{ print $4 "." $3 "." $2 "." $1 }')
put zone <<Z
$mine.in-addr.arpa PTR h.a.test
1.0.0.127.in-addr.arpa PTR me.test
2.0.0.127.in-addr.arpa PTR liar.test
3.0.0.127.in-addr.arpa PTR nowhere.test
4.0.0.127.in-addr.arpa FAIL
6.0.0.127.in-addr.arpa PTR six.test
h.a.test A $PEER
me.test A 127.0.0.1
liar.test A 192.0.2.1
six.test AAAA ::ffff:127.0.0.6
Z
python3 "$SUITE/dns.py" "$DNSADDRESS" zone &
dns=$!
await 'test -e zone.asked'
DNSCACHEIP=$DNSADDRESS; export DNSCACHEIP
serve() {
	rm -f port
	tcpserver -1 "$@" >port 2>log &
	server=$!
	await 'test -s port'
	PORT=$(cat port); export PORT
}
unserve() { kill $server; wait $server 2>/dev/null; }
put from <<'S'
socat -u TCP4:127.0.0.1:$PORT,bind=$1 -
S
show='echo ${TCPREMOTEHOST-unset} ${TCPLOCALHOST-unset} ${TCPREMOTEINFO-unset}'

serve -R 127.0.0.1 0 sh -c "$show"
step 'h is the default: names of both sides' 'sh from $PEER'
step 'a name that does not lead back counts without p' 'sh from 127.0.0.2'
step 'a name without address counts without p' 'sh from 127.0.0.3'
step 'a failing lookup is no name' 'sh from 127.0.0.4'
step 'an address without name' 'sh from 127.0.0.5'
unserve
serve -hR -l0 127.0.0.1 0 sh -c "$show"
step 'h said aloud, and no local name' 'sh from $PEER'
unserve
serve -pR -l0 127.0.0.1 0 sh -c "$show"
step 'p: a name that leads back' 'sh from $PEER'
step 'p: a name that does not' 'sh from 127.0.0.2'
step 'p: a name without address' 'sh from 127.0.0.3'
step 'p: a name with a mapped address' 'sh from 127.0.0.6'
unserve
serve -pPR -l0 127.0.0.1 0 sh -c "$show"
step 'P takes p back' 'sh from 127.0.0.2'
unserve
serve -pHR -l0 127.0.0.1 0 sh -c "$show"
step 'p without names' 'sh from 127.0.0.2'
unserve
serve -HhR -l0 127.0.0.1 0 sh -c "$show"
step 'h takes H back' 'sh from $PEER'
unserve
serve -vR 127.0.0.1 0 true
step 'a connection that is logged' 'sh from $PEER'
await 'grep end log'; unserve
step 'names in the log' 'cat log'
serve -6 -R 127.0.0.1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | grep -v PORT= | sort'
step 'names with 6' 'sh from $PEER'
unserve

serve -RHl0 me.test 0 echo in
step 'a host by name' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
step 'a host that has no address' 'timeout 20 tcpserver -RHl0 nosuch.test 0 true'

put r <<'X'
=h.a.test:allow,WHO="host"
=.test:allow,WHO="suffix"
127.0.0.5:allow,WHO="address"
127.0.0.:allow,WHO="network"
=:allow,WHO="named"
:deny
X
tcprules r.cdb tmp <r
serve -vR -l0 -x r.cdb 127.0.0.1 0 sh -c 'echo $WHO'
step 'a rule for a host' 'sh from $PEER'
step 'a network is stronger than a suffix' 'sh from 127.0.0.2'
step 'an address' 'sh from 127.0.0.5'
unserve
serve -vRH -l0 -x r.cdb 127.0.0.1 0 sh -c 'echo $WHO'
step 'without names host rules do not count' 'sh from $PEER'
await 'grep end log'; unserve
step 'and the log of that' 'cat log'
serve -pR -l0 -x r.cdb 127.0.0.1 0 sh -c 'echo $WHO $TCPREMOTEHOST'
step 'p before the rules' 'sh from $PEER'
unserve

# The user, by a server of RFC 1413 at the client.
ident() { # what it answers; nothing: it does not
	rm -f asked
	python3 - "$PEER" "$1" <<'P' &
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], 113)); s.listen(5); open("asked", "w").close()
while True:
    c, _ = s.accept()
    line = c.recv(100).strip()
    if sys.argv[2] != "silent":
        c.sendall(line + sys.argv[2].encode().decode("unicode_escape").encode("latin-1")); c.close()
P
	ident=$!
	await 'test -e asked'
}
serve -H -l0 127.0.0.1 0 sh -c "$show"
ident ' : USERID : UNIX : joe\r\n'
step 'r is the default: the user' 'sh from $PEER'
step 'nobody tells the user' 'sh from 127.0.0.2'
kill $ident; wait $ident 2>/dev/null
ident ' : ERROR : NO-USER\r\n'
step 'an error is no user' 'sh from $PEER'
kill $ident; wait $ident 2>/dev/null
ident ' : USERID : UNIX : two words \001\351x:y\r\n'
step 'odd bytes in a user' 'sh from $PEER | cat -v'
kill $ident; wait $ident 2>/dev/null
ident ' rubbish\r\n'
step 'rubbish is no user' 'sh from $PEER'
kill $ident; wait $ident 2>/dev/null
ident ''
step 'an answer without end' 'sh from $PEER'
kill $ident; wait $ident 2>/dev/null
unserve
ident ' : USERID : UNIX : joe\r\n'
serve -rR -H -l0 127.0.0.1 0 sh -c "$show"
step 'R takes r back' 'sh from $PEER'
unserve
serve -Rr -v -H -l0 127.0.0.1 0 sh -c "$show"
step 'r takes R back' 'sh from $PEER'
await 'grep end log'; unserve
step 'the user in the log' 'cat log'
echo 'joe@127.:allow,WHO="nobody knows"' >r
echo "joe@$PEER:allow,WHO=\"joe\"" >>r
echo "joe@=h.a.test:allow,WHO=\"joe of the host\"" >>r
tcprules r.cdb tmp <r
serve -r -H -l0 -x r.cdb 127.0.0.1 0 sh -c 'echo $WHO'
step 'a rule for a user' 'sh from $PEER'
unserve
kill $ident; wait $ident 2>/dev/null
ident silent
serve -t 1 -H -l0 127.0.0.1 0 sh -c "$show"
step 't is how long to wait for the user' 'from=$(date +%s); sh from $PEER; test $(($(date +%s) - from)) -lt 5 && echo in time'
unserve
serve -t1 -H -l0 -B 'hello ' 127.0.0.1 0 sh -c "$show"
step 'B comes before the user is asked for' 'sh from $PEER'
unserve
kill $ident; wait $ident 2>/dev/null

# The other way round.
serve -RHl0 127.0.0.1 0 sh -c 'echo $TCPREMOTEIP'
step 'tcpclient looks the names up' 'tcpclient -R 127.0.0.1 $PORT sh -c "env | grep -E ^TCP.*HOST | sort"'
step 'tcpclient h and H' 'for o in -h -hH -Hh; do tcpclient -R $o -l0 127.0.0.1 $PORT sh -c "echo \${TCPREMOTEHOST-unset} \${TCPLOCALHOST-unset}"; done'
step 'tcpclient local name by the DNS' 'tcpclient -RH 127.0.0.1 $PORT sh -c "echo \${TCPREMOTEHOST-unset} \${TCPLOCALHOST-unset}"'
step 'tcpclient to a name' 'tcpclient -RHl0 me.test $PORT sh -c "echo \$TCPREMOTEIP; head -1 <&6"'
step 'tcpclient to a name that is not there' 'tcpclient -RHl0 nosuch.test $PORT true'
step 'tcpclient to a name that fails' 'tcpclient -4RHl0 4.0.0.127.in-addr.arpa $PORT true'
step 'tcpclient v with names' 'tcpclient -vR 127.0.0.1 $PORT true'
unserve
ident ' : USERID : UNIX : joe\r\n'
rm -f port
tcpserver -1 -RHl0 $PEER 0 sh -c 'echo hi' >port 2>log &
server=$!
await 'test -s port'
PORT=$(cat port); export PORT
step 'tcpclient r' 'tcpclient -rHl0 $PEER $PORT sh -c "echo \${TCPREMOTEINFO-unset}"'
step 'tcpclient r is no default' 'tcpclient -Hl0 $PEER $PORT sh -c "echo \${TCPREMOTEINFO-unset}"'
step 'tcpclient rR' 'tcpclient -rRHl0 $PEER $PORT sh -c "echo \${TCPREMOTEINFO-unset}"'
kill $ident; wait $ident 2>/dev/null
ident silent
step 'tcpclient t' 'from=$(date +%s); tcpclient -r -t 1 -Hl0 $PEER $PORT sh -c "echo \${TCPREMOTEINFO-unset}"; test $(($(date +%s) - from)) -lt 5 && echo in time'
kill $ident; wait $ident 2>/dev/null
unserve
kill $dns; wait $dns 2>/dev/null
