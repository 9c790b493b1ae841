//! Delivers mail of a vpopmail domain by MySQL. See vdelivermail-mysql(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("vdelivermail-mysql", sqlcheck::vdelivermail_mysql)
}
