//! Take a message into the queue. See qmail-queue(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-queue", qmail_queue::qmail_queue)
}
