//! Show the settings. See qmail-showctl(8).

fn main() -> std::process::ExitCode {
    base::run("qmail-showctl", qmail_admin::showctl)
}
