//! List the queue. See mailq(1).

fn main() -> std::process::ExitCode {
    base::run("mailq", qmail_inject::mailq)
}
