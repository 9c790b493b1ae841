//! Forget which hosts did not answer. See qmail-tcpok(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-tcpok", qmail_admin::tcpok)
}
