//! Checks passwords by Dovecot. See dovecotcheck(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("dovecotcheck", dovecotcheck::dovecotcheck)
}
