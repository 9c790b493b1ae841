//! Hand one delivery to a server that speaks LMTP. See qmail-lmtp(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-lmtp", qmail_local::lmtp)
}
