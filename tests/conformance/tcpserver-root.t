# tcpserver: uid and gid.
# programs: tcpserver envuidgid
# needs: root
# mask: pid

serve() {
	rm -f port
	"$@" >port 2>log &
	server=$!
	await 'test -s port'
	PORT=$(cat port); export PORT
}
unserve() { kill $server; wait $server 2>/dev/null; }

serve tcpserver -1 -RHl0 -u 1 -g 2 127.0.0.1 0 sh -c 'id -u; id -g; id -G'
step 'u and g' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve envuidgid daemon tcpserver -1 -U -RHl0 127.0.0.1 0 sh -c 'id -u; id -g; id -G'
step 'U takes both from the environment' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
serve env UID=1 tcpserver -1 -U -RHl0 127.0.0.1 0 sh -c 'id -u; id -g'
step 'U without GID' 'socat -u TCP4:127.0.0.1:$PORT -'
unserve
