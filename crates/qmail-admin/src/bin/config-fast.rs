//! Write the first control files. See config-fast(8).

fn main() -> std::process::ExitCode {
    base::run("config-fast", qmail_admin::config_fast)
}
