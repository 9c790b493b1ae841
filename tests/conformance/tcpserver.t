# tcpserver: options, environment, rules, log.
# programs: tcpserver tcpclient tcprules
# mask: pid port

step 'needs host port and program' 'tcpserver'
step 'host and port are not enough' 'tcpserver 127.0.0.1 0'
step 'refuses an unknown option' 'tcpserver -Z 127.0.0.1 0 true'
step 'an unknown port name' 'tcpserver 127.0.0.1 nosuchport true'
step 'a port above 65535' 'timeout 1 tcpserver -1RHl0 127.0.0.1 99999 true'
step 'an address that is not ours' 'tcpserver -RHl0 192.0.2.1 0 true'
step 'an option lacks its argument' 'tcpserver -c'

# serve OPTIONS -- PROGRAM...: start a server, put its port into ./port.
serve() {
	rm -f port
	tcpserver -1 "$@" >port 2>log &
	server=$!
	await 'test -s port'
	PORT=$(cat port); export PORT
}
unserve() { kill $server; wait $server 2>/dev/null; }

serve -RHl0 127.0.0.1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'minus one prints the port' 'test $(cat port) -gt 0 && wc -l <port'
step 'environment for IPv4 without names' 'socat -u TCP4:127.0.0.1:$PORT -'
step 'says nothing by default' 'cat log'
step 'the port is taken' 'tcpserver -RHl0 127.0.0.1 $PORT true'
unserve
serve -RH -l my.name 127.0.0.1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'l sets the local name' 'socat -u TCP4:127.0.0.1:$PORT - | grep LOCALHOST'
unserve
serve -RHl0 ::1 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'environment for IPv6' 'socat -u "TCP6:[::1]:$PORT" -'
unserve
serve -RHl0 0 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'host 0 takes IPv4' 'socat -u TCP4:127.0.0.1:$PORT - | grep -E "IP=|PROTO"'
step 'host 0 takes IPv6' 'socat -u "TCP6:[::1]:$PORT" - | grep -E "IP=|PROTO"'
unserve
serve -4 -RHl0 0 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'minus 4 takes IPv4' 'socat -u TCP4:127.0.0.1:$PORT - | grep -E "IP=|PROTO"'
step 'minus 4 does not take IPv6' 'socat -u "TCP6:[::1]:$PORT" - 2>/dev/null || echo refused'
unserve
serve -6 -RHl0 0 0 sh -c 'env | grep -E "^(TCP|PROTO)" | sort'
step 'minus 6 shows IPv4 as mapped' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -v -RHl0 127.0.0.1 0 sh -c 'exit 3'
step 'a program that fails' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'v logs each connection' 'cat log'
serve -v -RHl0 127.0.0.1 0 ./nosuch
step 'a program that is not there' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'and what the log says' 'cat log'
serve -v -RHl0 127.0.0.1 0 sh -c 'kill -9 $$'
step 'a program that is killed' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'and its status' 'grep end log'
serve -RHl0 -B 'hello\n' 127.0.0.1 0 sh -c 'echo after'
step 'B sends a banner as it is' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -Q -RHl0 127.0.0.1 0 cat
step 'cat talks on 0 and 1' 'echo ping | socat - TCP4:127.0.0.1:$PORT'
unserve
serve -RHl0 127.0.0.1 0 sh -c 'exec ls -l /proc/self/fd | sed "s/.* \([0-9]*\) -> \(.[a-z]*\).*/\1 \2/" | grep -E "^[0-9]"'
step 'open descriptors of the program' 'socat -u TCP4:127.0.0.1:$PORT - | grep -c .'
unserve
echo '127.0.0.1:deny' | tcprules deny.cdb tmp
serve -v -RHl0 -x deny.cdb 127.0.0.1 0 echo never
step 'denied by a rule' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'the log of a denial' 'cat log'
echo '127.:allow,A="1",TCPREMOTEINFO="me",PROTO="X"' | tcprules allow.cdb tmp
serve -RHl0 -x allow.cdb 127.0.0.1 0 sh -c 'env | grep -E "^(TCPREMOTE|PROTO|A=)" | sort'
step 'variables of a rule' 'socat -u TCP4:127.0.0.1:$PORT - | grep -v PORT'
unserve
echo '127.:allow,TCPREMOTEINFO,PATH="/nowhere"' >r; echo '127.:allow,A="2"' | tcprules again.cdb tmp
serve -RHl0 -x again.cdb 127.0.0.1 0 sh -c 'echo $A'
step 'a rule file' 'socat -u TCP4:127.0.0.1:$PORT -'
echo '127.:allow,A="3"' | tcprules again.cdb tmp
step 'is read anew for every connection' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -v -RHl0 -x nosuch.cdb 127.0.0.1 0 echo hi
step 'a rule file that is not there' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'and what the log says of it' 'cat log'
serve -v -RHl0 -X -x nosuch.cdb 127.0.0.1 0 echo hi
step 'X forgives it' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
: >empty.cdb
serve -v -RHl0 -x empty.cdb 127.0.0.1 0 echo hi
step 'an empty rule file' 'socat -u TCP4:127.0.0.1:$PORT -'
await 'grep end log'; unserve
step 'and the log about that' 'cat log'
serve -v -RHl0 -c 1 127.0.0.1 0 sh -c 'echo in; sleep 0.7'
step 'c limits how many at once' 'socat -u TCP4:127.0.0.1:$PORT - & socat -u TCP4:127.0.0.1:$PORT - & wait'
await 'test $(grep -c end log) = 2'; unserve
step 'the log shows the limit' 'grep status log'
serve -v -RHl0 -c 0 127.0.0.1 0 echo zero
step 'a limit of none' 'timeout 1 socat -u TCP4:127.0.0.1:$PORT -; cat log'
unserve
serve -RHl0 127.0.0.1 0 sh -c 'echo $0 "$@"' zero one two
step 'arguments of the program' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve -vRHl0 127.0.0.1 0 true
kill -TERM $server; wait $server
code=$?
step 'TERM ends it' "exit $code"
step 'the log of it' 'cat log'
TCPREMOTEHOST=old TCPREMOTEINFO=old serve -RHl0 127.0.0.1 0 sh -c 'echo ${TCPREMOTEHOST-unset} ${TCPREMOTEINFO-unset} ${TCPLOCALHOST-unset}'
step 'inherited names are unset' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
