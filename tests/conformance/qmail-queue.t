# qmail-queue: one message on disk, whole or not at all.
# programs: qmail-queue
# needs: home users
# mask: date pid uid

put left <<'X'
#!/bin/sh
# What is in the queue, then empty it.
cd "$HOMEDIR/queue" || exit 1
for d in pid mess intd todo; do
	echo "$d:$(find $d -type f | wc -l)"
	find $d -type f -exec rm {} +
done
X
chmod 755 left
printf 'Subject: x\n\nbody\n' >msg
printf 'Fs@host.test\0Tr@host.test\0\0' >good

step 'takes a message' 'qmail-queue <msg 1<good'
step 'says nothing and keeps three files' './left'
qmail-queue <msg 1<good
step 'the message' 'cat $HOMEDIR/queue/mess/*/*'
step 'the envelope' 'cat $HOMEDIR/queue/todo/*'
step 'modes' 'cd $HOMEDIR/queue; stat -c "%a %h" mess/*/* intd/* todo/*'
step 'the name is the inode' 'cd $HOMEDIR/queue; n=$(ls todo); test $(stat -c %i mess/*/$n) = $n && test -f mess/$((n % 23))/$n && echo same'
./left >/dev/null
step 'arguments are ignored' 'qmail-queue a b c <msg 1<good; echo $?; ./left'
step 'an empty message' 'qmail-queue </dev/null 1<good; echo $?; cat $HOMEDIR/queue/mess/*/* | wc -l; ./left'
step 'a message is not changed' 'printf "a\000b\r\nc\377" | qmail-queue 1<good; tail -n +2 $HOMEDIR/queue/mess/*/*; echo; ./left'
step 'no recipient' 'printf "Fs\0\0" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'an empty sender' 'printf "F\0Tr\0\0" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'an empty recipient' 'printf "Fs\0T\0\0" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'three recipients' 'printf "Fs\0Ta\0Tb@c\0Td\0\0" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'bytes after the end of the envelope' 'printf "Fs\0Ta\0\0Tb\0\0rest" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'newline and odd bytes in an address' 'printf "Fs\0Ta\nb\377\0\0" >e; qmail-queue <msg 1<e; echo $?; cat $HOMEDIR/queue/todo/*; echo; ./left'
step 'an empty envelope' 'qmail-queue <msg 1</dev/null; echo $?; ./left'
step 'an envelope without sender' 'printf "Tr\0\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'a small f' 'printf "fs\0Tr\0\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'a wrong letter for a recipient' 'printf "Fs\0Xr\0\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'a second sender' 'printf "Fs\0Fr\0\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'ends in the sender' 'printf "Fs" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'ends after the sender' 'printf "Fs\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'ends in a recipient' 'printf "Fs\0Tr" >e; qmail-queue <msg 1<e; echo $?; ./left'
step 'ends before the last NUL' 'printf "Fs\0Tr\0" >e; qmail-queue <msg 1<e; echo $?; ./left'
long() { head -c "$1" /dev/zero | tr '\0' x; }
{ printf F; long 1002; printf '\0Tr\0\0'; } >e1002
{ printf F; long 1003; printf '\0Tr\0\0'; } >e1003
{ printf 'Fs\0T'; long 1002; printf '\0\0'; } >r1002
{ printf 'Fs\0T'; long 1003; printf '\0\0'; } >r1003
step 'the longest sender' 'qmail-queue <msg 1<e1002; echo $?; ./left'
step 'one more' 'qmail-queue <msg 1<e1003; echo $?; ./left'
step 'the longest recipient' 'qmail-queue <msg 1<r1002; echo $?; ./left'
step 'one more, recipient' 'qmail-queue <msg 1<r1003; echo $?; ./left'
step 'standard input closed' 'qmail-queue <&- 1<good; echo $?; ./left'
step 'descriptor 1 closed' 'qmail-queue <msg >&-; echo $?; ./left'
step 'both closed' 'qmail-queue <&- >&-; echo $?; ./left'
step 'standard error closed' 'qmail-queue <msg 1<good 2>&-; echo $?; ./left'
step 'descriptor 1 open for writing only' 'qmail-queue <msg >out; echo $?; ./left'
step 'standard input is a directory' 'qmail-queue <. 1<good; echo $?; ./left'
step 'no queue directory' 'mv $HOMEDIR/queue $HOMEDIR/q; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/q $HOMEDIR/queue'
step 'no pid directory' 'mv $HOMEDIR/queue/pid $HOMEDIR/p; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/p $HOMEDIR/queue/pid; ./left'
step 'no mess directory' 'mv $HOMEDIR/queue/mess $HOMEDIR/p; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/p $HOMEDIR/queue/mess; ./left'
step 'no intd directory' 'mv $HOMEDIR/queue/intd $HOMEDIR/p; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/p $HOMEDIR/queue/intd; ./left'
step 'no todo directory' 'mv $HOMEDIR/queue/todo $HOMEDIR/p; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/p $HOMEDIR/queue/todo; ./left'
step 'no trigger' 'mv $HOMEDIR/queue/lock $HOMEDIR/p; qmail-queue <msg 1<good; echo $?; mv $HOMEDIR/p $HOMEDIR/queue/lock; ./left'
step 'pulls the trigger' 'exec 8<>$HOMEDIR/queue/lock/trigger; qmail-queue <msg 1<good; timeout 5 head -c 1 <&8 | wc -c; ./left'
step 'a limit on file size' 'sh -c "ulimit -f 0; exec qmail-queue" <msg 1<good; echo $?; ./left'
# midway SIGNAL...: to a qmail-queue that waits for the rest of the message; its code
put midway <<'X'
#!/bin/sh
mkfifo rest
env --default-signal=INT qmail-queue <rest 1<good &
pid=$!
exec 9>rest
rm rest
until find "$HOMEDIR/queue/mess" -type f | grep -q .; do sleep 0.02; done
for signal; do kill -$signal $pid; done
case $1 in HUP) echo x >&9; exec 9>&- ;; esac
wait $pid 2>/dev/null
echo $?
X
chmod 755 midway
step 'HUP and INT are ignored' './midway HUP INT; ./left'
step 'TERM is not ignored and leaves the message file' './midway TERM; ./left'
step 'ALRM stops it with nothing cleaned' './midway ALRM; ./left'
