//! Finds out who a POP3 client is. See qmail-popup(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-popup", pop3::qmail_popup)
}
