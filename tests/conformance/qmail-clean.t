# qmail-clean: removes what qmail-send names.
# programs: qmail-clean
# needs: home

q=$HOMEDIR/queue
export q
put files <<'X'
#!/bin/sh
# files ID: make all that can be there; files: list it
cd "$q" || exit 1
if [ $# = 0 ]; then
	find intd mess todo info local remote bounce -type f | sort
	find intd mess todo info local remote bounce -type f -exec rm {} +
else
	for f in intd/$1 todo/$1 mess/$(($1 % 23))/$1 info/$(($1 % 23))/$1; do echo x >$f; done
fi
X
chmod 755 files
step 'ends with its input' 'qmail-clean'
step 'standard input closed' 'qmail-clean <&-'
step 'arguments are ignored' 'qmail-clean a b'
step 'foop removes intd and mess' './files 24; printf "foop/24\0" | qmail-clean; echo; ./files'
step 'todo removes intd and todo' './files 24; printf "todo/24\0" | qmail-clean; echo; ./files'
step 'files that are not there' 'printf "foop/25\0todo/25\0" | qmail-clean'
step 'a request without its NUL' './files 24; printf "foop/24" | qmail-clean; ./files'
step 'too short a request' 'printf "foop/\0" | qmail-clean'
step 'an empty request' 'printf "\0" | qmail-clean'
step 'another word' 'printf "mess/24\0" | qmail-clean'
step 'a letter in the number' './files 24; printf "foop/24a\0" | qmail-clean; echo; ./files'
step 'a letter before the number' './files 24; printf "foop/a24\0" | qmail-clean; echo; ./files'
step 'dots and slashes' 'printf "foop/../../control/me\0" | qmail-clean'
step 'a negative number' 'printf "foop/-24\0" | qmail-clean'
step 'leading zeros' './files 24; printf "foop/0024\0" | qmail-clean; echo; ./files'
step 'a hundred bytes are too many' '(printf "foop/"; head -c 96 /dev/zero | tr "\0" 0; printf "\0") | qmail-clean'
step 'ninety-nine bytes' '(printf "foop/"; head -c 94 /dev/zero | tr "\0" 0; printf "\0") | qmail-clean'
step 'a huge number' 'printf "foop/99999999999999999999999\0" | qmail-clean'
step 'several requests' './files 1; ./files 2; printf "foop/1\0x\0todo/2\0" | qmail-clean; echo; ./files'
step 'a file that cannot be removed' 'mkdir $q/intd/7; printf "foop/7\0" | qmail-clean; rmdir $q/intd/7'
step 'standard output closed' 'printf "foop/1\0" | qmail-clean >&-'
step 'the reader has gone' '(sleep 0.3; printf "foop/1\0") | (qmail-clean; echo $? >code) | :; cat code'
step 'old files in pid go' 'touch -d "2 days ago" $q/pid/old; touch $q/pid/new; qmail-clean; ls $q/pid; rm -f $q/pid/*'
step 'the sweep goes by the time of access' 'touch -a -d "2 days ago" $q/pid/read; touch -m -d "2 days ago" $q/pid/written; qmail-clean; ls $q/pid; rm -f $q/pid/*'
step 'no queue' 'mv $q $q.x; qmail-clean; c=$?; mv $q.x $q; exit $c'
