//! Take many messages into the queue, from a local socket. See qmail-queued(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-queued", qmail_queue::qmail_queued)
}
