# qmail-pop3d and qmail-popup.
# programs: qmail-pop3d qmail-popup
# needs: user
# mask: popstamp

mkdir -p m/new m/cur m/tmp
printf 'Subject: 1\n\none\n.dot\n' >m/new/1000000001.1.h
printf 'Subject: 2\n\ntwo' >m/cur/1000000002.2.h:2,S
printf '' >m/new/1000000003.3.h
touch -d '3 days ago' m/new/1000000001.1.h m/tmp/old
touch -d '2 days ago' m/cur/1000000002.2.h:2,S
touch -d '1 day ago' m/new/1000000003.3.h
touch m/tmp/young
# p 'LINES': a session, lines parted by |
put p <<'X'
#!/bin/sh
printf "$(printf '%s' "$1" | sed 's/|/\\r\\n/g')\r\n" | qmail-pop3d "${2-m}"
X
# u 'LINES' PROGRAM...: the same to qmail-popup
put u <<'X'
#!/bin/sh
lines=$1; shift
printf "$(printf '%s' "$lines" | sed 's/|/\\r\\n/g')\r\n" | qmail-popup h.test "$@"
X
# shows descriptor 3
put check <<'X'
#!/bin/sh
tr '\0' '\n' <&3
exit "${CODE-0}"
X
chmod 755 p u check
PATH=$PWD:$PATH; export PATH

step 'qmail-pop3d without a maildir' 'echo quit | qmail-pop3d'
step 'a maildir that is not there' 'p quit nosuch'
step 'a directory that is no maildir' 'mkdir x; p "stat|quit" x'
step 'no input' 'qmail-pop3d m </dev/null; ls m/new m/cur'
step 'old files in tmp go' 'ls m/tmp'
step 'stat' 'p stat'
step 'list' 'p "list|list 1|list 2|list 3|list 4|list 0|list x|list -1|list 1 2"'
step 'uidl' 'p "uidl|uidl 2|uidl 9"'
step 'retr' 'p "retr 1|retr 2|retr 3|retr 4|retr"'
step 'top' 'p "top 1 0|top 1 1|top 2 5|top 1|top 1 x|top 9 1|top"'
step 'last noop rset' 'p "last|retr 2|last|noop|rset|last"'
step 'dele' 'p "dele 1|stat|list|retr 1|dele 1|list 1|uidl|rset|stat"'
step 'unknown commands' 'p "frob|capa|stls|user x||auth"'
step 'capitals and blanks' 'p "STAT| stat|list  2|retr 1 x"'
step 'nothing is gone without quit' 'p "dele 1|noop"; ls m/new m/cur'
step 'a message that vanished' '(printf "stat\r\n"; sleep 0.3; mv m/cur/1000000002.2.h:2,S y; printf "retr 2\r\nlist 2\r\nquit\r\n") | qmail-pop3d m; mv y m/cur/1000000002.2.h:2,S'
step 'quit moves new to cur and deletes' 'p "dele 1|quit"; ls m/new m/cur'
step 'standard input closed' 'qmail-pop3d m <&-'
step 'standard output closed' 'echo stat | qmail-pop3d m >&-'
step 'a file of this second' 'touch m/new/now; p stat; rm m/new/now'
step 'a name with a leading dot' 'printf x >m/new/.hidden; touch -d yesterday m/new/.hidden; p stat; rm m/new/.hidden'

step 'qmail-popup without arguments' 'qmail-popup'
step 'qmail-popup without a program' 'qmail-popup h.test'
step 'the greeting' 'u quit true'
step 'no input for qmail-popup' 'qmail-popup h.test true </dev/null'
step 'user and pass' 'u "user joe|pass secret" ./check'
step 'the password is the rest of the line' 'u "user joe x|pass a b  c " ./check'
step 'pass first' 'u "pass x|quit" ./check'
step 'user without a name' 'u "user|pass x|quit" ./check'
step 'apop' 'u "apop joe 0123456789abcdef" ./check'
step 'apop without digest' 'u "apop joe|quit" ./check'
step 'other commands' 'u "stat|noop|capa|stls||quit" ./check'
step 'in capitals' 'u "USER joe|PASS secret" ./check'
step 'wrong password' 'u "user joe|pass x|quit" sh -c "exit 1"'
step 'misuse' 'u "user joe|pass x|quit" sh -c "exit 2"'
step 'temporary trouble' 'u "user joe|pass x|quit" sh -c "exit 111"'
step 'a checker that is not there' 'u "user joe|pass x|quit" ./nosuch'
step 'a checker that is killed' 'u "user joe|pass x|quit" sh -c "kill -9 \$\$"'
step 'a checker that ends well' 'u "user joe|pass x|quit" true'
