# mconnect, mconnect-io, tcpcat, who@, date@, finger@, http@: small clients.
# programs: mconnect mconnect-io tcpcat who@ date@ finger@ http@ tcpserver tcpclient addcr delcr
# needs: root
# mask: port

step 'mconnect-io copies both ways' 'printf "a\nb\r\n" | mconnect-io 6</dev/null 7>out; cat out'
step 'mconnect-io ends with 6' 'sleep 5 | mconnect-io 6</dev/null 7>out; wc -c <out'
step 'mconnect-io output' 'echo over | (sleep 0.2; cat) | (sleep 3 | mconnect-io 6<&0 7>out) 2>&1 </dev/null; cat out'
step 'mconnect-io 6 closed' 'mconnect-io </dev/null'
step 'mconnect-io from 6 to 1' 'printf "x\r\ny\n" >in; mconnect-io 6<in 7>out </dev/null'
serve() { tcpserver -RHl0 $PEER $1 sh -c "$2" & servers="$servers $!"; }
serve 11 'printf "root\ttty1\r\n\033x\r\n"'
serve 13 'printf "today\r\n"'
serve 17 'printf "quote\r\n\033"'
serve 25 'printf "220 hi\r\n"; while read -r l; do printf "got %s\r\n" "$l"; case $l in quit*) exit;; esac; done'
serve 79 'read -r l; printf "asked %s\r\n" "$l" | cat -v; echo'
serve 80 'while read -r l; do printf "%s\n" "$l" | cat -v >>request; test "$l" = "$(printf "\r")" && break; done; printf "HTTP/1.0 200 ok\r\nX: y\r\n\r\nbody\r\n\r\nmore\n"'
await 'for p in 11 13 17 25 79 80; do tcpclient -RHl0 $PEER $p true || exit 1; done'
rm -f request
step 'who@' 'who@ $PEER'
step 'date@' 'date@ $PEER'
step 'tcpcat' 'tcpcat $PEER'
step 'tcpcat with a port' 'tcpcat $PEER 13'
step 'mconnect' '(sleep 0.3; echo helo; sleep 0.3; echo quit; sleep 0.3) | mconnect $PEER'
step 'mconnect with a port' 'sleep 0.5 | mconnect $PEER 13'
step 'finger@' 'finger@ $PEER joe'
step 'finger@ nobody' 'finger@ $PEER'
step 'finger@ a name with a dash' 'finger@ $PEER -n'
step 'http@' 'http@ $PEER a/b; cat request; rm request'
step 'http@ the top' 'http@ $PEER; cat request; rm request'
step 'http@ with a port' 'http@ $PEER x 80; cat request; rm request'
step 'nobody is there' 'mconnect $NOPEER'
step 'nobody has a time' 'date@ $NOPEER'
step 'a host that is none' 'tcpcat "" 1'
kill $servers; wait
