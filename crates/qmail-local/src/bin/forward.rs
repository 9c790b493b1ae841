//! Send a message on to other addresses. See forward(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("forward", qmail_local::forward)
}
