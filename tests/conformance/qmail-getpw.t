# qmail-getpw: whose mail is it?
# programs: qmail-getpw
# needs: home users
# mask: uid

# The alias entry, with the ids of this machine taken out.
put show <<'X'
#!/bin/sh
qmail-getpw "$@" >o 2>e
c=$?
tr '\0' '\n' <o | sed "s/^$(id -u alias)\$/ALIASUID/; s/^$(id -g alias)\$/ALIASGID/; s|^$(getent passwd alias | cut -d: -f6)\$|ALIASHOME|"
cat e >&2
exit $c
X
chmod 755 show
step 'needs a name' 'qmail-getpw'
step 'further arguments are ignored' './show nosuchuser more'
step 'nobody of that name is an alias' './show nosuchuser'
step 'the end of each field is a NUL' 'qmail-getpw nosuchuser | tr -cd "\0" | wc -c'
step 'root is an alias' './show root'
step 'root with an extension' './show root-x'
step 'an empty name' './show ""'
step 'a dash' './show -'
step 'a name with dashes' './show no-such-user'
step 'capitals stay in the alias' './show NoSuch'
step 'a user whose home is not his' './show daemon'
step 'a very long name' './show $(head -c 300 /dev/zero | tr "\0" x)'
step 'a name of thirty-two bytes' './show $(head -c 32 /dev/zero | tr "\0" x)'
step 'a name with a colon' './show "daemon:x"'
step 'standard output closed' 'qmail-getpw x >&-'
step 'a full device' 'qmail-getpw x >/dev/full'
