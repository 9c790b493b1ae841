//! Put the lines of a delivery in front of a message. See preline(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("preline", qmail_local::preline)
}
