//! Begin at boot with svscan. See svscanboot(8).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    base::run("svscanboot", daemontools::svscanboot)
}
