//! Take the calls that other programs make to sendmail. See sendmail(8).

fn main() -> std::process::ExitCode {
    base::run("sendmail", qmail_inject::sendmail)
}
