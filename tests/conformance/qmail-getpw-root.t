# qmail-getpw with an account that gets mail.
# programs: qmail-getpw
# needs: root home users have-useradd

useradd -M -d "$SCRATCH/h1" conftest
mkdir "$SCRATCH/h1"
chown conftest "$SCRATCH/h1"
id=$(id -u conftest); gid=$(id -g conftest); export id gid
put show <<'X'
#!/bin/sh
qmail-getpw "$@" >o
c=$?
tr '\0' '\n' <o | sed "s/^$id\$/USERUID/; s/^$gid\$/USERGID/; s/^$(id -u alias)\$/ALIASUID/; s/^$(id -g alias)\$/ALIASGID/; s|^$(getent passwd alias | cut -d: -f6)\$|ALIASHOME|"
exit $c
X
chmod 755 show
step 'the user' './show conftest'
step 'capitals' './show ConfTest'
step 'with an extension' './show conftest-List-Owner'
step 'with an empty extension' './show conftest-'
step 'another break character' './show conftest+x'
step 'a home that is not there' 'mv $SCRATCH/h1 $SCRATCH/h2; ./show conftest; c=$?; mv $SCRATCH/h2 $SCRATCH/h1; exit $c'
step 'a home that belongs to another' 'chown root $SCRATCH/h1; ./show conftest; c=$?; chown conftest $SCRATCH/h1; exit $c'
userdel conftest
