//! Gives out a maildir over POP3. See qmail-pop3d(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("qmail-pop3d", pop3::qmail_pop3d)
}
