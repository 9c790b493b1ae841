# maildir2mbox, predate.
# programs: maildirmake maildir2mbox predate
# mask: date pid time

maildirmake m
step 'maildir2mbox without environment' 'maildir2mbox'
step 'maildir2mbox without MAIL' 'MAILDIR=m MAILTMP=$PWD/t maildir2mbox'
step 'maildir2mbox without MAILTMP' 'MAILDIR=m MAIL=$PWD/box maildir2mbox'
step 'maildir2mbox an empty maildir' 'MAILDIR=m MAIL=$PWD/box MAILTMP=$PWD/t maildir2mbox; ls'
printf 'Return-Path: <s@x.test>\nSubject: 1\n\nFrom me\nend' >m/new/1000000001.1.h
printf 'Subject: 2\n\nx\n' >m/cur/1000000002.2.h:2,S
step 'maildir2mbox passes over files of this second' 'touch m/new/* m/cur/*; MAILDIR=m MAIL=$PWD/box MAILTMP=$PWD/t maildir2mbox; ls'
touch -d '2 days ago' m/new/*; touch -d '1 day ago' m/cur/*
step 'maildir2mbox moves the mail' 'MAILDIR=m MAIL=$PWD/box MAILTMP=$PWD/t maildir2mbox; sed "s/^\(From [^ ]*\) [A-Z].*/\1 WHEN/" box; find m -type f'
printf 'Subject: 3\n\ny\n' >m/new/1000000003.3.h
touch -d '1 day ago' m/new/*
step 'maildir2mbox appends' 'MAILDIR=m MAIL=$PWD/box MAILTMP=$PWD/t maildir2mbox; grep -c Subject box; stat -c %a box; ls'
step 'maildir2mbox a maildir that is not there' 'MAILDIR=nosuch MAIL=$PWD/box MAILTMP=$PWD/t maildir2mbox'
step 'maildir2mbox a box that may not be made' 'printf x >m/new/1000000004.4.h; touch -d yesterday m/new/*; MAILDIR=m MAIL=$PWD/no/box MAILTMP=$PWD/t maildir2mbox; find m -type f'
step 'maildir2mbox a temporary file that may not be made' 'MAILDIR=m MAIL=$PWD/box MAILTMP=$PWD/no/t maildir2mbox; find m -type f'
step 'predate without a command' 'predate'
step 'predate puts the date in front' 'echo x | predate cat'
step 'predate hands on the exit code' 'predate sh -c "cat >/dev/null; exit 5"'
step 'predate a command that is not there' 'predate ./nosuch </dev/null'
