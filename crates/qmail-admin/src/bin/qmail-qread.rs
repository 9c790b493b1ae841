//! List the messages of the queue. See qmail-qread(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-qread", qmail_admin::qread)
}
