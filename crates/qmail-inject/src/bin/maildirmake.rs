//! Make an empty maildir. See maildirmake(1).

fn main() -> std::process::ExitCode {
    base::run("maildirmake", qmail_inject::maildirmake)
}
