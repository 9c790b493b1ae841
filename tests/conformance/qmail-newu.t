# qmail-newu, qmail-newmrh: tables.
# programs: qmail-newu qmail-newmrh
# needs: home

u=$HOMEDIR/users; export u
# a 'LINES': these lines to qmail-newu
put a <<'X'
#!/bin/sh
printf "$1" >$u/assign
qmail-newu
c=$?
ls $u | grep -v tmp
rm -f $u/cdb.tmp
exit $c
X
chmod 755 a
PATH=$PWD:$PATH; export PATH

step 'qmail-newu without assign' 'qmail-newu; c=$?; ls $u; exit $c'
step 'qmail-newu ignores arguments' 'printf ".\n" >$u/assign; qmail-newu a b; ls $u; rm $u/cdb'
step 'a dot only' 'a ".\n"; wc -c <$u/cdb; md5sum <$u/cdb'
step 'an exact line' 'a "=joe:joe:10:20:/h:::\n.\n"; md5sum <$u/cdb'
step 'mode of the table' 'stat -c %a $u/cdb'
step 'a prefix line' 'a "+joe-:joe:10:20:/h:-::\n.\n"; md5sum <$u/cdb'
step 'the lone prefix' 'a "+:alias:10:20:/h:-::\n.\n"; md5sum <$u/cdb'
step 'capitals become small' 'a "=JOE:Joe:10:20:/H:::\n.\n"; md5sum <$u/cdb; a "=joe:Joe:10:20:/H:::\n.\n"; md5sum <$u/cdb'
step 'several prefixes' 'a "+a-:a:1:1:/a:-::\n+b+:b:2:2:/b:-::\n+c-:c:3:3:/c:-::\n.\n"; md5sum <$u/cdb'
step 'the same twice' 'a "=a:a:1:1:/a:::\n=a:b:2:2:/b:::\n.\n"; md5sum <$u/cdb'
rm -f $u/cdb
step 'what a bad table leaves behind' 'printf "rubbish\n" >$u/assign; qmail-newu; ls $u; rm -f $u/cdb.tmp'
step 'no dot at the end' 'a "=a:a:1:1:/a:::\n"'
step 'an empty file' 'a ""'
step 'a dot without newline' 'a "."'
step 'lines after the dot do not count' 'a ".\nrubbish\n"'
rm -f $u/cdb
step 'a line beginning with a dot ends it too' 'a ".rubbish\n"'
rm -f $u/cdb
step 'too few colons' 'a "=a:a:1:1:/a::\n.\n"'
step 'more colons' 'a "=a:a:1:1:/a::::x:y\n.\n"; md5sum <$u/cdb'
rm -f $u/cdb
step 'another first letter' 'a "*a:a:1:1:/a:::\n.\n"'
step 'a comment is none' 'a "# comment\n.\n"'
step 'an empty line' 'a "\n.\n"'
step 'NUL in a line' 'a "=a:a\\000:1:1:/a:::\n.\n"'
step 'no colon' 'a "=abc\n.\n"'
step 'a colon at once' 'a ":a:a:1:1:/a:::\n.\n"'
step 'ids are not looked at' 'a "=a:a:x:y:home:::\n.\n"'
rm -f $u/cdb
step 'an unfinished line' 'a "=a:a:1:1:/a:::\n=b:b"'
step 'a bad line keeps the old table' 'a ".\n" >/dev/null; a "rubbish\n.\n" >/dev/null 2>&1; md5sum <$u/cdb'
step 'no users directory' 'mv $u $u.x; qmail-newu; c=$?; mv $u.x $u; exit $c'

c=$HOMEDIR/control; export c
step 'qmail-newmrh without its file' 'qmail-newmrh'
step 'qmail-newmrh' 'printf "A.test\n# no\n\n.b.TEST  \t\n" >$c/morercpthosts; qmail-newmrh; md5sum <$c/morercpthosts.cdb; stat -c %a $c/morercpthosts.cdb; ls $c'
step 'an empty morercpthosts' ': >$c/morercpthosts; qmail-newmrh; wc -c <$c/morercpthosts.cdb'
step 'a last line without newline' 'printf "a.test" >$c/morercpthosts; qmail-newmrh; md5sum <$c/morercpthosts.cdb; printf "a.test\n" >$c/morercpthosts; qmail-newmrh; md5sum <$c/morercpthosts.cdb'
step 'no control directory' 'mv $c $c.x; qmail-newmrh; r=$?; mv $c.x $c; exit $r'
