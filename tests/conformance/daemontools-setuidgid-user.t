# setuidgid without the right to use it.
# programs: setuidgid
# needs: user

step 'another account is refused' 'setuidgid root true'
