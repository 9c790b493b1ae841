# tcpserver and tcpclient: flags about sockets, and what is said when.
# programs: tcpserver tcpclient
# needs: have-python3 have-socat have-ss
# mask: pid port

serve() {
	rm -f port
	tcpserver -1 "$@" >port 2>log &
	server=$!
	await 'test -s port'
	PORT=$(cat port); export PORT
}
unserve() { kill $server; wait $server 2>/dev/null; }
backlog='ss -ltnH "sport = :$PORT" | awk "{ print \$3 }"'
put option <<'P'
import socket
s = socket.socket(fileno=0)
print("nodelay", int(s.getsockopt(6, 1) != 0), "keepalive", s.getsockopt(1, 9), "options", len(s.getsockopt(0, 4, 40)), flush=True)
P

serve -RHl0 127.0.0.1 0 python3 option
step 'the socket by default' 'socat -u TCP4:127.0.0.1:$PORT -'
step 'the backlog by default' "$backlog"
unserve
serve -b 7 -RHl0 127.0.0.1 0 true
step 'b is the backlog' "$backlog"
unserve
serve -b0 -RHl0 127.0.0.1 0 echo in
step 'no backlog' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -bx -RHl0 127.0.0.1 0 true
step 'a backlog that is none' "$backlog"
unserve
serve -D -RHl0 127.0.0.1 0 python3 option
step 'D does not delay' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -Dd -RHl0 127.0.0.1 0 python3 option
step 'd takes D back' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -o -RHl0 127.0.0.1 0 python3 option
step 'o leaves IP options' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -oO -RHl0 127.0.0.1 0 python3 option
step 'O takes o back' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -I lo -RHl0 ::1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | grep -v PORT | sort'
step 'I names an interface' 'socat -u "TCP6:[::1]:$PORT" -'
unserve
step 'I without such an interface' 'timeout 1 tcpserver -I nosuch0 -RHl0 fe80::1 0 true'
step 'minus 4 and an IPv6 address' 'timeout 1 tcpserver -4 -RHl0 ::1 0 true'
serve -46 -RHl0 127.0.0.1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | grep -v PORT | sort'
step '4 and 6 together' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -6 -RHl0 ::1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | grep -v PORT | sort'
step '6 and a client of IPv6' 'socat -u "TCP6:[::1]:$PORT" -'
unserve
serve -4 -RHl0 127.0.0.1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | grep -v PORT | sort'
step '4 alone' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve

serve -q -RHl0 127.0.0.1 0 ./nosuch
step 'q and a program that is not there' 'socat -u TCP4:127.0.0.1:$PORT -; sleep 0.3'
unserve
step 'q says nothing' 'cat log'
serve -Q -RHl0 127.0.0.1 0 ./nosuch
step 'Q and a program that is not there' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'test -s log'; unserve
step 'Q says so' 'cat log'
serve -vq -RHl0 127.0.0.1 0 true
step 'q after v' 'socat -u TCP4:127.0.0.1:$PORT -; sleep 0.3'
unserve
step 'q takes v back' 'cat log'
serve -vQ -RHl0 127.0.0.1 0 true
step 'Q after v' 'socat -u TCP4:127.0.0.1:$PORT -; sleep 0.3'
unserve
step 'Q takes v back' 'cat log'
step 'q and an address that is not ours' 'tcpserver -q -RHl0 192.0.2.1 0 true'
step 'q and no program' 'tcpserver -q -RHl0 127.0.0.1 0'
serve -c x -v -RHl0 127.0.0.1 0 true
step 'a limit that is none' 'cat log'
unserve
serve -c 3y -v -RHl0 127.0.0.1 0 true
step 'a limit with a tail' 'cat log'
unserve
serve -B '' -RHl0 127.0.0.1 0 echo in
step 'an empty banner' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -l '' -RH 127.0.0.1 0 sh -c 'echo "<$TCPLOCALHOST>"'
step 'an empty local name' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -RHl0 -- 127.0.0.1 0 echo after
step 'two dashes end the options' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
step 'a limit of none for the user' 'timeout 1 tcpserver -t'
step 'X without rules' 'timeout 1 tcpserver -X'
serve -X -RHl0 127.0.0.1 0 echo in
step 'X without x' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve

serve -RHl0 127.0.0.1 0 sh -c 'echo hi'
put options <<'P'
import socket
s = socket.socket(fileno=7)
print("nodelay", int(s.getsockopt(6, 1) != 0), flush=True)
P
step 'tcpclient by default' 'tcpclient -RHl0 127.0.0.1 $PORT python3 options'
step 'tcpclient D' 'tcpclient -D -RHl0 127.0.0.1 $PORT python3 options'
step 'tcpclient Dd' 'tcpclient -Dd -RHl0 127.0.0.1 $PORT python3 options'
step 'tcpclient 4' 'tcpclient -4 -RHl0 127.0.0.1 $PORT sh -c "env | grep -E ^\(TCP\|PROTO\) | grep -v PORT | sort"'
step 'tcpclient 6' 'tcpclient -6 -RHl0 127.0.0.1 $PORT sh -c "env | grep -E ^\(TCP\|PROTO\) | grep -v PORT | sort"'
step 'tcpclient I' 'tcpclient -I lo -RHl0 127.0.0.1 $PORT sh -c "echo \$TCPREMOTEIP \${TCP6INTERFACE-unset}"'
step 'tcpclient q and nobody listens' 'tcpclient -q -RHl0 127.0.0.1 1 true'
step 'tcpclient Q and nobody listens' 'tcpclient -Q -RHl0 127.0.0.1 1 true'
step 'tcpclient vq' 'tcpclient -vq -RHl0 127.0.0.1 $PORT true'
step 'tcpclient q and a program that is not there' 'tcpclient -q -RHl0 127.0.0.1 $PORT ./nosuch'
step 'tcpclient p is the local port' 'p=$((20000 + $$ % 10000)); tcpclient -p $p -RHl0 127.0.0.1 $PORT sh -c "test \$TCPLOCALPORT = $p && echo as told"'
step 'tcpclient a local port that is taken' 'tcpclient -p $PORT -i 127.0.0.1 -RHl0 127.0.0.1 $PORT true'
step 'tcpclient T with two times' 'timeout 8 tcpclient -T 1+2 -RHl0 127.0.0.1 $PORT sh -c "head -1 <&6"'
step 'tcpclient an option lacks its argument' 'tcpclient -T'
step 'tcpclient two dashes' 'tcpclient -RHl0 -- 127.0.0.1 $PORT sh -c "head -1 <&6"'
step 'tcpclient a port by name' 'tcpclient -RHl0 127.0.0.1 tcpmux sh -c "head -1 <&6"'
unserve
serve -RHl0 ::1 0 sh -c 'echo hi'
step 'tcpclient to IPv6' 'tcpclient -RHl0 ::1 $PORT sh -c "env | grep -E ^\(TCP\|PROTO\) | grep -v PORT | sort; head -1 <&6"'
step 'tcpclient 4 to IPv6' 'tcpclient -4 -RHl0 ::1 $PORT sh -c "head -1 <&6"'
unserve
