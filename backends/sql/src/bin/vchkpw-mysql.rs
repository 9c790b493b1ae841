//! Checks passwords by a database. See vchkpw-mysql(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vchkpw-mysql", sqlcheck::vchkpw_mysql)
}
