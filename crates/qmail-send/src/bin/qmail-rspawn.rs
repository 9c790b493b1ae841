//! Start deliveries to other hosts. See qmail-rspawn(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-rspawn", qmail_send::qmail_rspawn)
}
