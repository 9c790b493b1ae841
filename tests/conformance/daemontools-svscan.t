# svscan: a supervise for each directory.
# programs: svscan supervise svok svstat svc
# mask: pid seconds

step 'a directory that is not there' 'svscan nosuch'
step 'a file' 'touch plain; svscan plain'
mkdir -p sv/a sv/b/log sv/.hidden
printf '#!/bin/sh\nexec sleep 60\n' >sv/a/run
printf '#!/bin/sh\nwhile echo line; do sleep 5; done\n' >sv/b/run
printf '#!/bin/sh\nexec cat >got\n' >sv/b/log/run
cp sv/a/run sv/.hidden/run
chmod 755 sv/a/run sv/b/run sv/b/log/run sv/.hidden/run
echo plain >sv/plainfile
svscan sv 2>scan.err &
scan=$!
await 'svok sv/a'; await 'svok sv/b'; await 'svok sv/b/log'
await 'grep line sv/b/log/got'
await 'svstat sv/a | grep ": up"'
step 'starts each service' 'svstat sv/a sv/b sv/b/log'
step 'joins a service with its log' 'head -1 sv/b/log/got'
step 'passes over a leading dot' 'svok sv/.hidden'
step 'a plain file is no service' 'sleep 0.3; cat scan.err | sort -u'
mkdir sv/c; cp sv/a/run sv/c/run
sleep 5.5
step 'finds a new service within five seconds' 'svstat sv/c'
kill -TERM $scan; wait $scan 2>/dev/null
step 'the end of svscan does not end the services' 'svstat sv/a'
svc -dx sv/a sv/b sv/b/log sv/c
rm sv/plainfile
