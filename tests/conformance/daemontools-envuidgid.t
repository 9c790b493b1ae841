# envuidgid, setuidgid: an account by name.
# programs: envuidgid setuidgid

step 'envuidgid needs an account and a program' 'envuidgid'
step 'envuidgid with an account alone' 'envuidgid root'
step 'envuidgid without such an account' 'envuidgid nosuchaccount true'
step 'envuidgid sets UID and GID' 'envuidgid root env | grep -E "^(UID|GID)=" | sort'
step 'envuidgid replaces them' 'UID=7 GID=7 envuidgid root env | grep -E "^(UID|GID)=" | sort'
step 'envuidgid hands on the exit code' 'envuidgid root sh -c "exit 8"'
step 'envuidgid with a program that is not there' 'envuidgid root ./nosuch'
step 'envuidgid does not take a number' 'envuidgid 0 true'
step 'envuidgid takes no options' 'envuidgid -x true'
step 'envuidgid with an empty account' 'envuidgid "" true'
step 'setuidgid needs an account and a program' 'setuidgid'
step 'setuidgid with an account alone' 'setuidgid root'
step 'setuidgid without such an account' 'setuidgid nosuchaccount true'
step 'setuidgid does not take a number' 'setuidgid 0 true'
