# qmail-local: .qmail files, deliveries and exit codes.
# programs: qmail-local
# needs: user home
# mask: time pid maildir date

mkdir h
H=$PWD/h
export H
printf 'Subject: x\n\nbody\n' >msg
# Stands for qmail-queue: keeps what it was given.
put queue <<'X'
#!/bin/sh
cat >"$SCRATCH/w/q.msg"
cat <&1 >"$SCRATCH/w/q.env"
test ! -f "$SCRATCH/w/q.code" || exit "$(cat "$SCRATCH/w/q.code")"
X
chmod 755 queue
QMAILQUEUE=$PWD/queue; export QMAILQUEUE
# l [-n] DASH EXT [SENDER [DEFAULTDELIVERY]]: user me, host h.test
put l <<'X'
#!/bin/sh
n=; [ "$1" = -n ] && { n=-n; shift; }
dash=$1 ext=$2 sender=${3-s@x.test} default=${4-./Mailbox}
exec qmail-local $n -- me "$H" "me$dash$ext" "$dash" "$ext" h.test "$sender" "$default" <"${MSG-msg}"
X
chmod 755 l
PATH=$PWD:$PATH; export PATH
clean() { rm -rf h; mkdir h; }

step 'needs eight arguments' 'qmail-local'
step 'seven are not enough' 'qmail-local u /tmp l d e h s'
step 'nine are too many' 'qmail-local u /tmp l d e h s a more'
step 'refuses an unknown option' 'qmail-local -x u /tmp l d e h s a'
step 'a home that is not absolute' 'qmail-local u tmp l "" e h s ./Mailbox'
step 'a home that is not there' 'qmail-local u /no/such/home l "" e h s ./Mailbox'
step 'a home anyone may write' 'chmod 777 h; l "" ""; c=$?; chmod 755 h; exit $c'
step 'a home the group may write' 'chmod 775 h; l "" ""; c=$?; chmod 755 h; exit $c'
step 'a sticky home defers' 'chmod 1755 h; l "" ""; c=$?; chmod 755 h; exit $c'
step 'a sticky home with n' 'chmod 1755 h; l -n "" ""; c=$?; chmod 755 h; exit $c'
clean
step 'no .qmail takes the default' 'l "" ""; cat h/Mailbox'
step 'the mode of a new mbox' 'stat -c %a h/Mailbox'
step 'n shows what would be done' 'l -n "" ""'
step 'the last of n and N counts' 'qmail-local -N -n -- me "$H" me "" "" h.test s ./Mailbox <msg'
step 'the default may have several lines' 'l -n "" "" s@x.test "./a
|b
&c@d"'
step 'an empty default delivers nowhere' 'l "" "" s@x.test ""'
step 'a default of a comment' 'l "" "" s@x.test "#"'
step 'an extension without a file' 'l - ext'
step 'the extension in capitals' 'echo ./found >h/.qmail-ext; l -n - EXT'
step 'a dot becomes a colon' 'echo ./found >h/.qmail-a:b; l -n - a.b'
step 'a slash in the extension' 'l -n - a/b'
step 'the default file' 'echo ./default >h/.qmail-default; l -n - some-thing'
step 'a longer default first' 'echo ./some >h/.qmail-some-default; l -n - some-thing'
step 'the exact file before it' 'echo ./exact >h/.qmail-some-thing; l -n - some-thing'
step 'an extension ending in a dash' 'l -n - some-'
step 'DEFAULT is what was left over' 'echo "|echo \$DEFAULT \$EXT \$EXT2 \$EXT3 \$EXT4" >h/.qmail-some-default; l - some-One.Two-three-four-five'
step 'an inherited DEFAULT stays when the file is exact' 'echo "|echo \${DEFAULT-unset}" >h/.qmail-some-thing; DEFAULT=old l - some-thing'
step 'an empty extension with a dash' 'l -n - ""'
clean
step 'a directory in place of the file is passed over' 'mkdir h/.qmail-d; echo ./default >h/.qmail-default; l -n - d'
step 'a dangling link is passed over' 'ln -s nowhere h/.qmail-e; l -n - e'
step 'a file that may not be read' 'echo ./x >h/.qmail-f; chmod 0 h/.qmail-f; l -n - f'
step 'a file anyone may write' 'echo ./x >h/.qmail-g; chmod 666 h/.qmail-g; l -n - g'
step 'a file the group may write' 'chmod 664 h/.qmail-g; l -n - g'
step 'an empty file takes the default' ': >h/.qmail-h; l -n - h'
step 'an empty file may be executable' 'chmod 755 h/.qmail-h; l -n - h'
step 'executable means forward only' 'printf "&a@b\n./x\n" >h/.qmail-i; chmod 744 h/.qmail-i; l -n - i'
step 'executable and a program' 'printf "&a@b\n|x\n" >h/.qmail-i; l -n - i'
step 'a first blank line' 'printf "\n./x\n" >h/.qmail-j; l -n - j'
step 'a first line of blanks' 'printf "  \n./x\n" >h/.qmail-j; l -n - j'
step 'a later blank line' 'printf "./x\n\n./y\n" >h/.qmail-j; l -n - j'
step 'a lone newline' 'printf "\n" >h/.qmail-j; l -n - j'
step 'every kind of line' 'printf "# comment\n./mbox\n/abs/mbox\n./dir/\n/abs/dir/\n|prog arg\n| prog\n&a@b\nc@d\n+list\n&e@f\n+other\n  blanks  \n&\n" >h/.qmail-k; l -n - k'
step 'list forbids files afterwards' 'printf "&a@b\n+list\n./x\n" >h/.qmail-k; l -n - k'
step 'blanks at the end go' 'printf "./mbox \t \n|prog x \t\n" >h/.qmail-k; l -n - k'
step 'no newline at the end' 'printf "./one\n./two" >h/.qmail-k; l -n - k'
step 'a carriage return stays' 'printf "./one\r\n" >h/.qmail-k; l -n - k'
step 'NUL in a line' 'printf "./one\0two\n" >h/.qmail-k; l -n - k'
step 'an ampersand and a blank' 'printf "& a@b\n" >h/.qmail-k; l -n - k'

clean
step 'delivers into a maildir' 'mkdir -p h/M/tmp h/M/new h/M/cur; l "" "" s@x.test ./M/; cat h/M/new/*; ls h/M/tmp'
step 'mode and name of the file' 'stat -c %a h/M/new/*; ls h/M/new | sed "s/\..*\././"'
step 'a maildir that is not there' 'l "" "" s@x.test ./N/'
step 'a maildir without tmp' 'mkdir h/N; l "" "" s@x.test ./N/'
step 'a maildir without new' 'mkdir h/N/tmp; l "" "" s@x.test ./N/; ls h/N/tmp'
step 'an mbox grows' 'printf "From me\n>From me\nFrom\nfrom me\n\nFrom you" >m2; l "" ""; MSG=m2 l "" ""; sed "s/^\(From [^ ]*\) [A-Z].*/\1 WHEN/" h/Mailbox'
step 'an mbox that is a directory' 'mkdir h/dirbox; l "" "" s@x.test ./dirbox'
step 'an mbox that may not be written' 'touch h/ro; chmod 444 h/ro; l "" "" s@x.test ./ro'
step 'an mbox in a directory that is not there' 'l "" "" s@x.test ./no/such/box'
step 'an mbox that is a link' 'ln -s linked h/link; l "" "" s@x.test ./link; wc -l <h/linked'
step 'the sender of an mbox' 'for s in "" "#@[]" "a b@c" "q\"x@y"; do l "" "" "$s" ./Sender; done; grep -E "^(From|Return)" h/Sender | sed "s/^\(From [^ ]*\) [A-Z].*/\1 WHEN/"'
step 'a newline in the recipient' 'qmail-local -- me "$H" "a
b" "" "" h.test s ./Nl <msg; grep -c Delivered-To:.a_b@h.test h/Nl'
step 'standard input not seekable' 'cat msg | qmail-local -- me "$H" me "" "" h.test s ./Mailbox'
step 'standard input closed' 'qmail-local -- me "$H" me "" "" h.test s ./Mailbox <&-'
step 'standard output closed' 'l "" "" >&-'
step 'an empty message' 'MSG=/dev/null l "" "" s ./Empty; sed 1d h/Empty'
step 'its own Delivered-To loops' 'printf "Delivered-To: me@h.test\n\nx\n" >m3; MSG=m3 l "" ""'
step 'in capitals it does not loop' 'printf "delivered-to: ME@H.TEST\n\nx\n" >m3; MSG=m3 l "" ""'
step 'in the body it does not loop' 'printf "A: b\n\nDelivered-To: me@h.test\n" >m3; MSG=m3 l "" ""'
step 'n does not look for loops' 'printf "Delivered-To: me@h.test\n\nx\n" >m3; MSG=m3 l -n "" ""'
step 'Delivered-To with an extension' 'printf "Delivered-To: me-x@h.test\n\nx\n" >m3; echo ./x >h/.qmail-x; MSG=m3 l - x'

clean
prog() { printf '%s\n' "$@" >h/.qmail-p; }
prog '|env | grep -E "^(SENDER|NEWSENDER|RECIPIENT|USER|HOME|HOST|HOST2|HOST3|HOST4|LOCAL|EXT|DTLINE|RPLINE)=" | sort; echo "$UFLINE" | cut -d" " -f1,2'
step 'environment of a program' 'qmail-local -- me "$H" me-p - p a.b.c.test "s@x.test" ./Mailbox <msg'
prog '|cat; pwd; umask'
step 'a program gets the message as it is' 'l - p'
prog '|cat' '|cat'
step 'each program gets it from the start' 'l - p'
prog '|exit 0' '|exit 99' '|echo never'
step 'exit 99 ends the file' 'l - p'
prog '&a@b' '|exit 99' '&c@d'
step 'forwards before 99 are made' 'l - p | sed "s/^qp.*/qp/"; cat q.env; echo'
for code in 1 64 65 70 76 77 78 100 111 112 127; do
	prog "|exit $code" './never'
	step "a program ends with $code" 'l - p'
done
prog '|kill -9 $$'
step 'a program is killed' 'l - p'
prog '|echo out; echo err >&2; exit 100'
step 'what a program says' 'l - p'
prog '|/no/such/program'
step 'a program that is not there' 'l - p 2>/dev/null'
prog '|true' '|false'
step 'standing of files before a failure' 'printf "./kept\n|exit 100\n" >h/.qmail-p; l - p; wc -l <h/kept'
prog '|cat <&3' 
step 'a program has nothing on 3' 'l - p 2>/dev/null'

clean
fwd() { printf '%s\n' "$@" >h/.qmail-f; }
fwd '&a@b.test' 'c@d.test'
step 'forwards go out last and together' 'l - f | sed "s/^qp.*/qp/"; cat q.msg; cat q.env; echo'
step 'an empty sender stays' 'l - f "" >/dev/null; cat q.env; echo'
step 'the sender of a double bounce stays' 'l - f "#@[]" >/dev/null; cat q.env; echo'
: >h/.qmail-f-owner
step 'an owner file changes the sender' 'l - f >/dev/null; cat q.env; echo; l - f "" >/dev/null; cat q.env; echo'
: >h/.qmail-f-owner-default
step 'owner and owner-default make a VERP sender' 'l - f >/dev/null; cat q.env; echo'
rm h/.qmail-f-owner*
fwd '&nohost'
step 'a forward without a host' 'l - f >/dev/null; cat q.env; echo'
fwd '&"a b"@c' '&a@b (comment)' '&<a@b>'
step 'a forward is taken as it stands' 'l - f >/dev/null; cat q.env; echo'
fwd '&a@b'
for code in 11 31 51 53 54 71 81 91 111 120; do
	echo $code >q.code
	step "the queue program ends with $code" 'l - f'
done
rm q.code
step 'a queue program that is not there' 'QMAILQUEUE=/no/such/program l - f'
