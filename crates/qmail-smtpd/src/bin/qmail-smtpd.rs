//! Receives mail over SMTP. See qmail-smtpd(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-smtpd", qmail_smtpd::qmail_smtpd)
}
