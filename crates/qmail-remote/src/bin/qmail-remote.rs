//! Send one message to one host by SMTP. See qmail-remote(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-remote", qmail_remote::qmail_remote)
}
