# qmail-pw2u: users/assign out of passwd.
# programs: qmail-pw2u
# needs: user home

u=$HOMEDIR/users; export u
mkdir h; chown "$(id -u)" h
uid=$(id -u) gid=$(id -g); export uid gid
put p <<'X'
#!/bin/sh
# p ARGS <passwd: the result with what belongs to this account taken out
qmail-pw2u "$@" | sed "s/\b$uid:$gid\b/UID:GID/"
X
chmod 755 p
PATH=$PWD:$PATH; export PATH
step 'qmail-pw2u without input' 'qmail-pw2u'
step 'qmail-pw2u an unknown option' 'qmail-pw2u -x'
step 'no alias user' 'echo "x:*:5:5::$PWD/h:" | p'
pw="alias:*:7790:2108::/var/alias:
me:*:$uid:$gid::$PWD/h:/bin/sh
Caps:*:$uid:$gid::$PWD/h:
root:*:0:0::/root:
nohome:*:$uid:$gid::/no/such:
other:*:12345:12345::$PWD/h:"
echo "$pw" >pw
step 'an ordinary run' 'p -H <pw'
step 'homes are looked at' 'p <pw'
step 'homes must belong' 'p -h <pw'
step 'o' 'p -o <pw'
step 'capitals are taken with U' 'p -HU <pw'
step 'another break character' 'p -H -c+ <pw'
step 'no break' 'p -HC <pw'
step 'a slash' 'p -H/ <pw'
step 'users/exclude' 'echo me >$u/exclude; p -H <pw; rm $u/exclude'
step 'users/include' 'echo me >$u/include; p -H <pw; rm $u/include'
step 'users/mailnames' 'echo "me:me:mine" >$u/mailnames; p -H <pw; rm $u/mailnames'
step 'users/subusers' 'echo "sub:me:ext:" >$u/subusers; p -H <pw; rm $u/subusers'
step 'users/append' 'echo "=x:y" >$u/append; p -H <pw; rm $u/append'
step 'a bad line of passwd' 'echo "alias:x" | p -H'
step 'an unfinished line of passwd' '(cat pw; printf "abc:*:1") | p -H'
