//! Black-box tests of qmail-smtpd.
