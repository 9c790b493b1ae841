//! Kills, injected errors and power cuts against the programs in a directory. See docs/crash.md.

fn main() -> std::process::ExitCode {
    crash::run()
}
