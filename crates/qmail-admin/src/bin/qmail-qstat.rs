//! Count the messages of the queue. See qmail-qstat(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-qstat", qmail_admin::qstat)
}
