//! Run a program with variables from the files of a directory. See envdir(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("envdir", daemontools::envdir)
}
