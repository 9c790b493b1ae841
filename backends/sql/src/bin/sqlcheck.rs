//! Checks passwords by a database. See sqlcheck(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("sqlcheck", sqlcheck::sqlcheck)
}
