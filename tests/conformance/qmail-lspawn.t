# qmail-lspawn: one byte first, then a report for each order.
# programs: qmail-lspawn qmail-local qmail-newu
# needs: root home users
# mask: uid

chown -R alias "$HOMEDIR/alias"
chmod 755 "$HOMEDIR/alias"
chown qmailq "$HOMEDIR/queue/mess/1"
m=$HOMEDIR/queue/mess
printf 'Subject: x\n\nbody\n' >"$m/1/24"
chown qmailq "$m/1/24"
cp "$m/1/24" "$m/2/25"; chown root "$m/2/25"
mkdir "$m/3/26"; chown qmailq "$m/3/26"
mkdir "$SCRATCH/h"; chown daemon "$SCRATCH/h"; chmod 755 "$SCRATCH" "$SCRATCH/h"
uid=$(id -u daemon) gid=$(id -g daemon)
put "$HOMEDIR/users/assign" <<X
=own:daemon:$uid:$gid:$SCRATCH/h:::
=ext:daemon:$uid:$gid:$SCRATCH/h:-:thing:
+pre-:daemon:$uid:$gid:$SCRATCH/h:-:pre-:
=zero:root:0:0:$SCRATCH/h:::
=gone:daemon:$uid:$gid:/no/such/home:::
=bad:daemon:x:y:$SCRATCH/h:::
.
X
qmail-newu
# A bin of our own: the real qmail-local or a given one, and a getpw that
# knows the alias user only.
local=$(command -v qmail-local)
rm "$HOMEDIR/bin"
mkdir "$HOMEDIR/bin"
cat >"$HOMEDIR/bin/qmail-getpw" <<X
#!/bin/sh
case \$1 in
	code*) exit \${1#code} ;;
	part) printf 'alias\\0' ;;
	noid) printf 'alias\\0x\\0y\\0$HOMEDIR/alias\\0-\\0%s\\0' "\$1" ;;
	*) printf '%s\\0' alias $(id -u alias) $(id -g alias) "$HOMEDIR/alias" - "\$1" ;;
esac
X
chmod 755 "$HOMEDIR/bin/qmail-getpw"
put real <<X
#!/bin/sh
rm -f "\$HOMEDIR/bin/qmail-local"
ln -s "$local" "\$HOMEDIR/bin/qmail-local"
X
put code <<'X'
#!/bin/sh
rm -f "$HOMEDIR/bin/qmail-local"
printf '#!/bin/sh\necho said\n%s\n' "$1" >"$HOMEDIR/bin/qmail-local"
chmod 755 "$HOMEDIR/bin/qmail-local"
X
chmod 755 real code
./real
# l PATH SENDER RECIPIENT [more]: orders to qmail-lspawn; the first byte (its limit) as a number
put l <<'X'
#!/bin/sh
printf "$1" | (cd /; exec qmail-lspawn "${2-./Mailbox}") >out
code=$?
head -c 1 out | od -An -tu1 | tr -d ' '
tail -c +2 out | tr '\0' '\n'
test $code = 0 || echo "code $code"
X
chmod 755 l
put nul <<'X'
|printf 'a\000b\nc'
X

step 'qmail-lspawn and no orders' './l ""'
step 'qmail-lspawn needs a default delivery' 'qmail-lspawn </dev/null | wc -c'
step 'an order for an assigned user' './l "\0001/24\0s@x.test\0own@h.test\0"; sed 1d $SCRATCH/h/Mailbox; stat -c "%U %a" $SCRATCH/h/Mailbox'
step 'the slot number comes back' './l "\1071/24\0s\0own@h.test\0" | od -c | head -3'
step 'the default delivery' './l "\0001/24\0s\0own@h.test\0" "|echo \$USER \$LOCAL \$EXT \$HOST \$SENDER; id -un"'
step 'a user with an extension' './l "\0001/24\0s\0ext@h.test\0"; echo "|echo \$EXT" >$SCRATCH/h/.qmail-thing; ./l "\0001/24\0s\0ext@h.test\0"'
step 'a prefix' 'echo "|echo \$LOCAL \$EXT" >$SCRATCH/h/.qmail-pre-default; ./l "\0001/24\0s\0pre-Some-One@h.test\0"'
step 'capitals in a prefix' './l "\0001/24\0s\0PRE-x@h.test\0"'
step 'an exact entry does not take an extension' './l "\0001/24\0s\0own-x@h.test\0"'
step 'nobody of that name' './l "\0001/24\0s\0nosuch@h.test\0"'
step 'an alias' 'echo "|echo alias \$LOCAL \$EXT; id -un" >$HOMEDIR/alias/.qmail-al; ./l "\0001/24\0s\0al@h.test\0"'
step 'never as root' './l "\0001/24\0s\0zero@h.test\0"'
step 'a home that is gone' './l "\0001/24\0s\0gone@h.test\0"'
step 'ids that are no numbers' './l "\0001/24\0s\0bad@h.test\0"'
step 'a recipient without a host' './l "\0001/24\0s\0own\0"'
step 'the last at sign counts' './l "\0001/24\0s\0own@a@h.test\0"'
step 'an empty local part' './l "\0001/24\0s\0@h.test\0"'
step 'a message that is not there' './l "\0001/99\0s\0own@h.test\0"'
step 'a message of another owner' './l "\0002/25\0s\0own@h.test\0"'
step 'a message that is a directory' './l "\0003/26\0s\0own@h.test\0"'
step 'a path with a letter' './l "\000../x\0s\0own@h.test\0"'
step 'an empty path' './l "\000\0s\0own@h.test\0"'
step 'a path of a hundred and one' './l "\000$(head -c 101 /dev/zero | tr "\0" 1)\0s\0own@h.test\0"'
step 'a slot above the limit' './l "\3771/24\0s\0own@h.test\0" | od -c'
step 'two orders' './l "\0001/24\0s\0@h\0\0011/24\0s\0@h\0" | sort'
step 'an order without its end' './l "\0001/24\0s\0own@h.test"'
for code in 0 1 64 71 74 75 77 99 100 101 111 112 113 115 116 117 118 119 120 121 126; do
	step "qmail-local with code $code" "./code 'exit $code'; ./l '\0001/24\0s\0own@h.test\0'"
done
step 'qmail-local is killed' './code "kill -9 \$\$"; ./l "\0001/24\0s\0own@h.test\0"'
step 'no qmail-local' 'rm $HOMEDIR/bin/qmail-local; ./l "\0001/24\0s\0own@h.test\0"'
./real
for code in 0 1 100 111; do
	step "qmail-getpw with code $code" "./l '\0001/24\0s\0code$code@h.test\0'"
done
step 'qmail-getpw with one field' './l "\0001/24\0s\0part@h.test\0"'
step 'qmail-getpw with ids that are no numbers' './l "\0001/24\0s\0noid@h.test\0"'
step 'no qmail-getpw' 'mv $HOMEDIR/bin/qmail-getpw x; ./l "\0001/24\0s\0other@h.test\0"; mv x $HOMEDIR/bin/qmail-getpw'
step 'NUL and newline in a report' 'cat nul >$SCRATCH/h/.qmail-pre-nul; ./l "\0001/24\0s\0pre-nul@h.test\0" | od -c | head -4'
step 'a long report' './l "\0001/24\0s\0own@h.test\0" "|head -c 9000 /dev/zero | tr \"\0\" x" | wc -c'
step 'a broken users/cdb' 'cp $HOMEDIR/users/cdb c; head -c 100 /dev/zero >$HOMEDIR/users/cdb; ./l "\0001/24\0s\0own@h.test\0"; cp c $HOMEDIR/users/cdb'
step 'no users/cdb' 'mv $HOMEDIR/users/cdb c; ./l "\0001/24\0s\0own@h.test\0"; mv c $HOMEDIR/users/cdb'
rm -r "$HOMEDIR/bin"
