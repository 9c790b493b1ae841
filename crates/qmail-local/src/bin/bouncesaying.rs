//! Refuse a message with a text. See bouncesaying(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("bouncesaying", qmail_local::bouncesaying)
}
