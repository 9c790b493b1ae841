//! Checks passwords by a directory. See ldapcheck(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("ldapcheck", ldapcheck::ldapcheck)
}
