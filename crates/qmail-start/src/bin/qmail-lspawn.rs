//! Start local deliveries. See qmail-lspawn(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-lspawn", qmail_start::lspawn)
}
