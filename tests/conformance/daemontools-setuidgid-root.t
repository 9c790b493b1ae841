# setuidgid as root.
# programs: setuidgid
# needs: root

step 'becomes the account' 'setuidgid daemon sh -c "id -u; id -g; id -G"'
step 'keeps only the groups of the account it was told' 'setuidgid nobody sh -c "id -G | wc -w"'
step 'sets no variables' 'USER=me setuidgid daemon sh -c "echo \$USER \$HOME | wc -w"'
step 'hands on the exit code' 'setuidgid daemon sh -c "exit 6"'
step 'a program that is not there' 'setuidgid daemon ./nosuch'
step 'looks the program up as the account' 'mkdir -m 700 mine; cp /bin/true mine/; setuidgid daemon ./mine/true'
