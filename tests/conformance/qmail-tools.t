# qmail-qread, qmail-qstat, qmail-tcpto, qmail-tcpok, qmail-showctl, splogger.
# programs: qmail-qread qmail-qstat qmail-tcpto qmail-tcpok qmail-showctl splogger
# needs: home
# mask: date

q=$HOMEDIR/queue; export q
step 'qmail-qread and an empty queue' 'qmail-qread'
step 'qmail-qread ignores arguments' 'qmail-qread a b'
step 'qmail-qstat and an empty queue' 'qmail-qstat'
printf 'Fs@x.test\0' >$q/info/1/24
printf '12345' >$q/mess/1/24
printf 'Ta@l.test\0Db@l.test\0' >$q/local/1/24
printf 'Tc@r.test\0' >$q/remote/1/24
touch -d '2001-09-09 01:46:40' $q/info/1/24
step 'one message' 'qmail-qread'
step 'qmail-qstat counts it' 'qmail-qstat'
echo x >$q/bounce/24
step 'a message that bounces' 'qmail-qread'
printf 'F\0' >$q/info/2/25; printf 'xyz' >$q/mess/2/25; touch -d '2001-09-09 01:46:41' $q/info/2/25
step 'an empty sender and no recipients' 'qmail-qread'
printf 'Fa\nb\001\377c\0' >$q/info/1/24; touch -d '2001-09-09 01:46:40' $q/info/1/24
step 'odd bytes of a sender' 'qmail-qread'
printf 'Xs\0' >$q/info/1/24; touch -d '2001-09-09 01:46:40' $q/info/1/24
step 'a sender file of another kind' 'qmail-qread'
printf 'Fs\0' >$q/info/1/24; touch -d '2001-09-09 01:46:40' $q/info/1/24
printf 'Ta@l.test\0Qb@l.test\0Tc' >$q/local/1/24
step 'a recipient file of another kind' 'qmail-qread'
rm $q/mess/1/24
step 'a message without its body' 'qmail-qread'
rm $q/info/1/24 $q/local/1/24 $q/remote/1/24 $q/bounce/24
echo x >$q/todo/99; echo y >$q/mess/3/26
step 'qmail-qstat counts todo' 'qmail-qstat'
rm $q/todo/99
step 'qmail-qstat without a queue' 'mv $q $q.x; qmail-qstat 2>/dev/null; c=$?; mv $q.x $q; exit $c'
step 'qmail-qread without a queue' 'mv $q $q.x; qmail-qread; c=$?; mv $q.x $q; exit $c'

step 'qmail-tcpto and an empty table' 'qmail-tcpto'
now=$(date +%s)
# record IP COUNT AGE: one slot of the table
record() {
	python3 -c 'import sys,struct
a=bytes(int(x) for x in sys.argv[1].split("."))
sys.stdout.buffer.write(a+bytes([int(sys.argv[2]),0,0,0])+struct.pack("<Q",int(sys.argv[3])))' "$1" "$2" $((now - $3))
}
{ record 192.0.2.1 1 100; record 192.0.2.2 2 1000; record 192.0.2.3 0 10; head -c 976 /dev/zero; } >$q/lock/tcpto
step 'qmail-tcpto shows the table' 'qmail-tcpto | sed "s/out [0-9]* /out N /"'
step 'qmail-tcpok clears it' 'qmail-tcpok; qmail-tcpto; wc -c <$q/lock/tcpto; tr -d "\0" <$q/lock/tcpto | wc -c'
step 'qmail-tcpto without a table' 'mv $q/lock/tcpto t; qmail-tcpto; c=$?; mv t $q/lock/tcpto; exit $c'
step 'qmail-tcpok without a table' 'mv $q/lock/tcpto t; qmail-tcpok; c=$?; mv t $q/lock/tcpto; exit $c'
step 'qmail-tcpto and a short table' 'cp $q/lock/tcpto t; head -c 20 t >$q/lock/tcpto; qmail-tcpto; c=$?; cp t $q/lock/tcpto; exit $c'

step 'qmail-showctl without control files' 'qmail-showctl >out; c=$?; tail -n +8 out | grep -v "uid\|gid\|^user-ext\|silent\|subdirectory" ; exit $c'
echo me.test >$HOMEDIR/control/me
printf 'a\n#b\n\nc \n' >$HOMEDIR/control/locals
echo 9 >$HOMEDIR/control/databytes
echo strange >$HOMEDIR/control/oddfile
printf 'x.test:y\n' >$HOMEDIR/control/virtualdomains
step 'qmail-showctl with some' 'qmail-showctl >out; c=$?; grep -A4 "^databytes\|^locals\|^oddfile\|^virtual\|^me:\|^bouncehost" out; exit $c'
step 'qmail-showctl without control directory' 'mv $HOMEDIR/control $HOMEDIR/c; qmail-showctl >out 2>&1; c=$?; mv $HOMEDIR/c $HOMEDIR/control; tail -1 out; exit $c'

step 'splogger without input' 'splogger </dev/null'
step 'splogger with a tag' 'echo x | splogger conftest'
step 'splogger with a facility' 'echo x | splogger conftest 2'
step 'splogger with a facility that is none' 'echo x | splogger conftest abc'
step 'splogger with more' 'echo x | splogger conftest 2 3'
step 'splogger standard input closed' 'splogger <&-'
