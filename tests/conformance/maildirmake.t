# maildirmake.
# programs: maildirmake

step 'maildirmake without a name' 'maildirmake'
step 'maildirmake makes four directories' 'maildirmake m; find m | sort | xargs stat -c "%a %n"'
step 'maildirmake once more' 'maildirmake m'
step 'maildirmake in a directory that is not there' 'maildirmake no/m'
step 'maildirmake takes one name' 'maildirmake n o; ls -d n; test -e o || echo none'
step 'maildirmake and a umask' '(umask 0; maildirmake u; stat -c %a u u/tmp)'
step 'maildirmake an empty name' 'maildirmake ""'
