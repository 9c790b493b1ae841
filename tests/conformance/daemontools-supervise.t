# supervise, svc, svok, svstat: one service.
# programs: supervise svc svok svstat
# mask: pid seconds

step 'supervise needs a directory' 'supervise'
step 'supervise without such a directory' 'supervise nosuch'
step 'supervise on a file' 'touch plain; supervise plain'
step 'svc without arguments' 'svc'
step 'svc with options only' 'svc -u'
step 'svc with an unknown option' 'svc -y nosuch'
step 'svc has no 1 and 2' 'svc -1 nosuch; svc -2 nosuch'
step 'svc without such a directory' 'svc -u nosuch'
step 'svc on a directory without supervise' 'mkdir d; svc -u d'
step 'svc without options needs no service' 'svc d'
step 'svc tells about each' 'svc -u d nosuch'
step 'svok without arguments' 'svok'
step 'svok without such a directory' 'svok nosuch'
step 'svok on a directory without supervise' 'svok d'
step 'svok takes one' 'svok d nosuch'
step 'svok takes no options' 'svok -x'
step 'svstat without arguments' 'svstat'
step 'svstat without such a directory' 'svstat nosuch'
step 'svstat on a directory without supervise' 'svstat d'
step 'svstat on two' 'svstat d nosuch'

mkdir s
touch s/down
put s/run <<'X'
#!/bin/sh
echo started >>log
trap 'echo got term >>log; exit 0' TERM
trap 'echo got hup >>log' HUP
trap 'echo got alarm >>log' ALRM
while :; do sleep 0.1; done
X
chmod 755 s/run
supervise s 2>sup.err &
sup=$!
await 'svok s'
await 'test -s s/supervise/status'

step 'svok on a running supervise' 'svok s'
step 'a down file keeps it down' 'svstat s'
step 'files of a service' 'ls s/supervise; stat -c "%a %F" s/supervise s/supervise/*'
step 'size of the status file' 'wc -c <s/supervise/status'
step 'a second supervise on the directory' 'supervise s'
svc -u s; await 'svstat s | grep up'; await 'grep started s/log'
step 'up while a down file is there' 'svstat s'
step 'svstat with a slash at the end' 'svstat s/'
svc -h s; await 'grep hup s/log'
svc -a s; await 'grep alarm s/log'
sleep 0.4
step 'h and a are signals' 'cat s/log; svstat s'
svc -p s; await 'svstat s | grep paused'
step 'p pauses' 'svstat s'
svc -c s; sleep 0.3
step 'c continues' 'svstat s'
svc -t s; await 'grep term s/log'; sleep 1.3
step 't ends it and it starts again' 'grep -c started s/log; svstat s'
svc -d s; await 'svstat s | grep -v up'
step 'd ends it for good' 'svstat s; tail -1 s/log'
rm s/down
step 'down without a down file' 'svstat s'
svc -u s; await 'svstat s | grep ": up"'
step 'up without a down file' 'svstat s'
svc -o s
svc -t s; await 'svstat s | grep down'; sleep 1.2
step 'o does not start it again' 'svstat s'
mv s/run s/run2
svc -u s; await 'test -s sup.err'
step 'a run file that is not there' 'head -1 sup.err'
mv s/run2 s/run
sleep 2.3
step 'is tried again' 'svstat s'
svc -x s; sleep 0.5
step 'x alone does not end the service' 'svstat s'
svc -k s; await '! kill -0 '$sup
step 'x ends supervise when the service has ended' 'svok s; echo $?; svstat s'
wait $sup
step 'k is the kill signal' 'tail -1 s/log'
supervise s 2>>sup.err &
sup=$!
await 'svok s'; await 'svstat s | grep ": up"'
step 'starts without a down file' 'svstat s'
step 'several commands in one word' 'svc -dx s'
await '! kill -0 '$sup
step 'd and x together' 'svstat s'
wait $sup
step 'all that supervise said' 'sort -u sup.err'
