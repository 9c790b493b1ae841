//! Complete a message and hand it to the queue. See qmail-inject(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-inject", qmail_inject::inject)
}
