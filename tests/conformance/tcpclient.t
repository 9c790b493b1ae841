# tcpclient: one connection, on descriptors 6 and 7.
# programs: tcpclient tcpserver
# mask: pid port

step 'needs host port and program' 'tcpclient'
step 'host and port are not enough' 'tcpclient 127.0.0.1 25'
step 'refuses an unknown option' 'tcpclient -Z 127.0.0.1 25 true'
step 'an unknown port name' 'tcpclient -RHl0 127.0.0.1 nosuchport true'
step 'nobody listens' 'tcpclient -RHl0 127.0.0.1 1 true'
step 'an address that is none' 'DNSCACHEIP=127.0.0.1 timeout 3 tcpclient -RHl0 "" 1 true'
tcpserver -1 -RHl0 127.0.0.1 0 sh -c 'echo hello; cat 2>/dev/null' >port &
server=$!
await 'test -s port'
PORT=$(cat port); export PORT
step 'reads on 6' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "head -1 <&6"'
step 'writes on 7' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "echo there >&7; head -2 <&6"'
step 'environment' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "env | grep -E ^\(TCP\|PROTO\) | sort"'
step 'l sets the local name' 'tcpclient -RH -l my.name 127.0.0.1 $PORT sh -c "echo \$TCPLOCALHOST"'
step 'hands on the exit code' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "exit 9"'
step 'a program that is not there' 'tcpclient -RHl0 127.0.0.1 $PORT ./nosuch'
step 'v tells of the connection' 'tcpclient -v -RHl0 127.0.0.1 $PORT true'
step 'i binds the local address' 'tcpclient -RHl0 -i 127.0.0.2 127.0.0.1 $PORT sh -c "echo \$TCPLOCALIP"'
step 'a local address that is not ours' 'tcpclient -RHl0 -i 192.0.2.1 127.0.0.1 $PORT true'
step 'host 0 is this host' 'tcpclient -RHl0 0 $PORT sh -c "echo \$TCPREMOTEIP"'
step 'standard input and output stay' 'echo in | tcpclient -RHl0 127.0.0.1 $PORT cat'
step 'standard input closed' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "head -1 <&6" <&-'
step 'descriptors 6 and 7 closed before' 'tcpclient -RHl0 127.0.0.1 $PORT sh -c "head -1 <&6" 6<&- 7>&-'
kill $server; wait $server 2>/dev/null
