# tcp-env.
# programs: tcp-env

step 'tcp-env without a program' 'tcp-env'
step 'tcp-env an unknown option' 'tcp-env -x true'
step 'tcp-env with standard input no socket' 'tcp-env -R sh -c "env | grep -E ^\(TCP\|PROTO\) | sort"'
step 'tcp-env standard input closed' 'tcp-env -R sh -c "env | grep -E ^\(TCP\|PROTO\) | sort" <&-'
step 'tcp-env hands on the exit code' 'tcp-env -R sh -c "exit 6"'
step 'tcp-env with a program that is not there' 'tcp-env -R ./nosuch'
step 'tcp-env leaves PROTO alone' 'PROTO=TCP tcp-env -R sh -c "echo \$PROTO"'
