# qmail-rspawn: one byte first, then a report for each order.
# programs: qmail-rspawn
# needs: root home users

m=$HOMEDIR/queue/mess
printf 'Subject: x\n\nbody\n' >"$m/1/24"
chown qmailq "$m/1/24"
cp "$m/1/24" "$m/2/25"; chown root "$m/2/25"
# r ORDERS: to qmail-rspawn, with a qmail-remote of our own; the first byte (its limit) as a number
put r <<'X'
#!/bin/sh
printf "$1" | (PATH=$PWD/fake:$PATH; cd /; exec qmail-rspawn) >out
code=$?
head -c 1 out | od -An -tu1 | tr -d ' '
tail -c +2 out | tr '\0' '\n'
test $code = 0 || echo "code $code"
X
mkdir fake
put fake/qmail-remote <<'X'
#!/bin/sh
case $1 in
	args) printf 'r\0K'; printf '%s,' "$#" "$@"; printf '\0' ;;
	body) printf 'r\0K'; head -1; printf '\0' ;;
	k) printf 'r\0Kfine\n\0' ;;
	h) printf 'hno\n\0Dgiving up\n\0' ;;
	s) printf 'slater\n\0Dgiving up\n\0' ;;
	rz) printf 'r\0Ztrouble\n\0' ;;
	rd) printf 'r\0Drefused\n\0' ;;
	hk) printf 'hno\n\0Kfine\n\0' ;;
	sk) printf 'slater\n\0Kfine\n\0' ;;
	z) printf 'Zonly\n\0' ;;
	d) printf 'Donly\n\0' ;;
	none) ;;
	odd) printf 'what?\n\0' ;;
	cut) printf 'r\0Kwithout an end' ;;
	exit111) printf 'r\0Kfine\n\0'; exit 111 ;;
	exit1) printf 'r\0Kfine\n\0'; exit 1 ;;
	kill) kill -9 $$ ;;
	err) echo 'said on 2' >&2; printf 'r\0Kfine\n\0' ;;
	long) printf 'r\0K'; head -c 20000 /dev/zero | tr '\0' x; printf '\0' ;;
esac
X
chmod 755 r fake/qmail-remote

step 'qmail-rspawn and no orders' './r ""'
step 'arguments of qmail-remote' './r "\0001/24\0s@x.test\0a@args\0"'
step 'the message on 0' './r "\0001/24\0s\0a@body\0"'
for how in k h s rz rd hk sk z d none odd cut exit111 exit1 kill err; do
	step "qmail-remote: $how" "./r '\0001/24\0s\0a@$how\0'"
done
step 'a long report of qmail-remote' './r "\0001/24\0s\0a@long\0" | wc -c'
step 'a remote recipient without a host' './r "\0001/24\0s\0args\0"'
step 'a remote message of another owner' './r "\0002/25\0s\0a@k\0"'
step 'a remote message that is not there' './r "\0001/99\0s\0a@k\0"'
step 'no qmail-remote along PATH' 'printf "\0001/24\0s\0a@k\0" | (p=$(command -v qmail-rspawn); PATH=/nowhere; exec $p) | tail -c +2 | tr "\0" "\n"'
step 'QMAILREMOTE goes before it' 'QMAILREMOTE=/bin/false ./r "\0001/24\0s\0a@k\0"'
