//! Schedule the deliveries of the queue. See qmail-send(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-send", qmail_send::qmail_send)
}
