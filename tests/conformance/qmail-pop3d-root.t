# qmail-pop3d as root.
# programs: qmail-pop3d
# needs: root

step 'refuses root' 'mkdir -p m/new m/cur m/tmp; echo quit | qmail-pop3d m'
