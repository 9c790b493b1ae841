# tcprules and tcprulescheck.
# programs: tcprules tcprulescheck

step 'tcprules needs two names' 'tcprules'
step 'tcprules with one name' 'tcprules a.cdb'
step 'a third name is ignored' 'echo :allow | tcprules a.cdb a.tmp more; ls'
step 'an empty file of rules' ': | tcprules e.cdb e.tmp; wc -c <e.cdb; ls e.*'
step 'the same bytes for the same rules' 'printf "1.2.3.4:allow\n:deny\n" | tcprules s.cdb s.tmp; md5sum <s.cdb'
step 'the same bytes with variables' 'printf "1.2.3.4:allow,A=\"b\"\n1.2.3.:deny\n=h.test:allow\n" | tcprules s.cdb s.tmp; md5sum <s.cdb'
step 'the mode of the table' 'stat -c %a s.cdb'
step 'the mode follows the umask' '(umask 077; echo :allow | tcprules u.cdb u.tmp); stat -c %a u.cdb'
step 'a temporary file that cannot be made' 'echo :allow | tcprules a.cdb nodir/tmp'
step 'a table that cannot be put in place' 'echo :allow | tcprules nodir/a.cdb a.tmp; ls a.tmp'
step 'standard input closed' 'tcprules a.cdb a.tmp <&-'
step 'a line that cannot be read leaves the table' 'echo :allow | tcprules k.cdb k.tmp; printf "1.2.3.4:allow,X\n" | tcprules k.cdb k.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck k.cdb'
step 'a variable without a value' 'echo "1.2.3.4:allow,X" | tcprules x.cdb x.tmp'
step 'a value without an end' 'printf "1.2.3.4:allow,X=\"y\n" | tcprules x.cdb x.tmp'
step 'any byte may stand around a value' 'echo "1.2.3.4:allow,X=/a\"b/,Y=xcx" | tcprules x.cdb x.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck x.cdb'
step 'an empty value' 'echo "1.2.3.4:allow,X=\"\"" | tcprules x.cdb x.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck x.cdb'
step 'no comma between variables' 'echo "1.2.3.4:allow,X=\"a\"Y=\"b\"" | tcprules x.cdb x.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck x.cdb'
step 'something else than allow or deny' 'echo "1.2.3.4:frob" | timeout 1 tcprules x.cdb x.tmp'
step 'lines of blanks and comments' 'printf "# one\n\n:deny\n" | tcprules c.cdb c.tmp; tcprulescheck c.cdb'
step 'a line without a colon' 'echo "1.2.3.4" | timeout 1 tcprules x.cdb x.tmp'
step 'allow with a tail' 'echo "1.2.3.4:allowed" | timeout 1 tcprules x.cdb x.tmp'
step 'capital allow' 'echo "1.2.3.4:ALLOW" | timeout 1 tcprules x.cdb x.tmp'
step 'blank before the variables' 'echo "1.2.3.4:allow ,X=\"a\"" | timeout 1 tcprules x.cdb x.tmp'
step 'a line of blanks only' 'printf "  \n:deny\n" | timeout 1 tcprules c.cdb c.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck c.cdb'
step 'a comment after blanks is none' 'printf "  # a comment\n" | timeout 1 tcprules c.cdb c.tmp'
step 'trailing blanks go' 'printf "1.2.3.4:deny \t \n" | tcprules c.cdb c.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck c.cdb'
step 'leading blanks belong to the address' 'printf " 1.2.3.4:deny\n" | tcprules c.cdb c.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck c.cdb; TCPREMOTEIP=" 1.2.3.4" tcprulescheck c.cdb'
step 'a last line without newline' 'printf ":deny" | tcprules c.cdb c.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck c.cdb'
step 'a carriage return at the end' 'printf "1.2.3.4:deny\r\n" | timeout 1 tcprules c.cdb c.tmp'
step 'the first of two lines wins' 'printf "1.2.3.4:deny\n1.2.3.4:allow\n" | tcprules c.cdb c.tmp; TCPREMOTEIP=1.2.3.4 tcprulescheck c.cdb'
step 'a range' 'printf "1.2.3-5.:deny\n" | tcprules r.cdb r.tmp; for i in 2 3 4 5 6; do TCPREMOTEIP=1.2.$i.9 tcprulescheck r.cdb; done'
step 'a range at the end' 'printf "1.2.3.4-6:deny\n" | tcprules r.cdb r.tmp; for i in 3 4 6 7; do TCPREMOTEIP=1.2.3.$i tcprulescheck r.cdb; done'
step 'two ranges' 'printf "1.2-3.4-5.6:deny\n" | timeout 1 tcprules r.cdb r.tmp; TCPREMOTEIP=1.3.5.6 tcprulescheck r.cdb; TCPREMOTEIP=1.2.6.6 tcprulescheck r.cdb'
step 'a range upside down' 'printf "1.2.5-3.:deny\n" | tcprules r.cdb r.tmp; TCPREMOTEIP=1.2.4.1 tcprulescheck r.cdb'
step 'a range above 255' 'printf "1.2.254-300.:deny\n" | tcprules r.cdb r.tmp; TCPREMOTEIP=1.2.255.1 tcprulescheck r.cdb; TCPREMOTEIP=1.2.256.1 tcprulescheck r.cdb'
step 'a range of names is none' 'printf "=a-b.test:deny\n" | tcprules r.cdb r.tmp; TCPREMOTEHOST=a-b.test TCPREMOTEIP=1.2.3.4 tcprulescheck r.cdb'
step 'a range with a user is none' 'printf "u@1.2.3-5.:deny\n" | tcprules r.cdb r.tmp; TCPREMOTEINFO=u TCPREMOTEIP=1.2.4.4 tcprulescheck r.cdb'

step 'tcprulescheck without arguments' 'tcprulescheck'
step 'tcprulescheck without an address' 'tcprulescheck c.cdb'
step 'tcprulescheck without a table' 'TCPREMOTEIP=1.2.3.4 tcprulescheck nosuch.cdb'
step 'tcprulescheck on an empty file' ': >zero; TCPREMOTEIP=1.2.3.4 tcprulescheck zero'
step 'tcprulescheck on a broken file' 'head -c 2048 /dev/zero | tr "\0" x >broken; TCPREMOTEIP=1.2.3.4 tcprulescheck broken'
put rules <<'X'
u@1.2.3.4:allow,WHO="user at address"
u@=h.a.test:allow,WHO="user at host"
1.2.3.4:allow,WHO="address"
1.2.3.:allow,WHO="three"
1.2.:allow,WHO="two"
1.:allow,WHO="one"
=h.a.test:allow,WHO="host"
=.a.test:allow,WHO="suffix"
=.test:allow,WHO="top"
=:allow,WHO="any host"
:deny,WHO="nobody"
X
step 'a table of rules' 'tcprules t.cdb t.tmp <rules'
step 'the exact address' 'TCPREMOTEIP=1.2.3.4 tcprulescheck t.cdb'
step 'the exact address before the host' 'TCPREMOTEHOST=h.a.test TCPREMOTEIP=1.2.3.4 tcprulescheck t.cdb'
step 'user and address' 'TCPREMOTEINFO=u TCPREMOTEHOST=h.a.test TCPREMOTEIP=1.2.3.4 tcprulescheck t.cdb'
step 'user and host' 'TCPREMOTEINFO=u TCPREMOTEHOST=h.a.test TCPREMOTEIP=1.2.3.5 tcprulescheck t.cdb'
step 'another user' 'TCPREMOTEINFO=v TCPREMOTEIP=1.2.3.4 tcprulescheck t.cdb'
step 'the host before three numbers' 'TCPREMOTEHOST=h.a.test TCPREMOTEIP=1.2.3.5 tcprulescheck t.cdb'
step 'three numbers before a suffix' 'TCPREMOTEHOST=x.a.test TCPREMOTEIP=1.2.3.5 tcprulescheck t.cdb'
step 'two numbers' 'TCPREMOTEIP=1.2.9.9 tcprulescheck t.cdb'
step 'one number' 'TCPREMOTEIP=1.9.9.9 tcprulescheck t.cdb'
step 'the longest suffix' 'TCPREMOTEHOST=x.y.a.test TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'a shorter suffix' 'TCPREMOTEHOST=x.b.test TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'a suffix does not match the bare name' 'TCPREMOTEHOST=a.test TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'any host' 'TCPREMOTEHOST=else.where TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'capitals in a host name' 'TCPREMOTEHOST=H.A.Test TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'an empty host name' 'TCPREMOTEHOST= TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'nothing found but the empty rule' 'TCPREMOTEIP=9.9.9.9 tcprulescheck t.cdb'
step 'nothing found at all' 'echo 1.2.3.4:deny | tcprules n.cdb n.tmp; TCPREMOTEIP=9.9.9.9 tcprulescheck n.cdb'
step 'deny with variables' 'echo "9.:deny,A=\"b\"" | tcprules n.cdb n.tmp; TCPREMOTEIP=9.9.9.9 tcprulescheck n.cdb'

put rules6 <<'X'
2001:db8::1:allow,WHO="exact"
2001:db8::allow,WHO="db8"
2001::allow,WHO="2001"
::ffff:1.2.3.4:allow,WHO="mapped"
fe80::1%eth0:allow,WHO="scoped"
:deny
X
step 'rules for IPv6' 'tcprules 6.cdb 6.tmp <rules6'
step 'the exact IPv6 address' 'TCPREMOTEIP=2001:db8::1 tcprulescheck 6.cdb'
step 'an IPv6 prefix' 'TCPREMOTEIP=2001:db8::2 tcprulescheck 6.cdb'
step 'an IPv6 prefix is text' 'TCPREMOTEIP=2001:db8:1::1 tcprulescheck 6.cdb'
step 'a shorter IPv6 prefix' 'TCPREMOTEIP=2001:dead::1 tcprulescheck 6.cdb'
step 'a mapped address' 'TCPREMOTEIP=::ffff:1.2.3.4 tcprulescheck 6.cdb'
step 'the dotted form of it' 'TCPREMOTEIP=1.2.3.4 tcprulescheck 6.cdb'
step 'capital IPv6 digits' 'TCPREMOTEIP=2001:DB8::1 tcprulescheck 6.cdb'
step 'a long form is another text' 'TCPREMOTEIP=2001:db8:0:0:0:0:0:1 tcprulescheck 6.cdb'
step 'a scope' 'TCPREMOTEIP=fe80::1%eth0 tcprulescheck 6.cdb'
