//! A recipient with a home, for one test.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kit::{Home, Output};
use sys::spawn::Spawn;

/// The tester, as user `me` of host `h.test`; a fake qmail-queue keeps what it gets.
pub(crate) struct Recipient {
    pub(crate) office: Home,
    pub(crate) home: PathBuf,
    pub(crate) sender: String,
    pub(crate) default_delivery: String,
}

impl Recipient {
    pub(crate) fn new(name: &str) -> Recipient {
        let office = Home::new(name);
        office.write("me/.keep", "");
        office.fake(
            "qmail-queue",
            "cat >q.message; cat <&1 >q.envelope; test ! -f q.code || exit $(cat q.code)",
        );
        office.write("message", "Subject: x\n\nbody\n");
        Recipient {
            home: office.join("me"),
            office,
            sender: "s@x.test".to_owned(),
            default_delivery: "./Mailbox".to_owned(),
        }
    }

    /// Writes `.qmail` and the rest of a name.
    pub(crate) fn qmail(&self, rest: &str, text: &str) {
        let path = self.home.join(format!(".qmail{rest}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.home.join(name), Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn maildir(&self) {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.home.join("Maildir").join(part)).unwrap();
        }
    }

    /// The names in a directory of the home.
    pub(crate) fn names(&self, dir: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home.join(dir)).unwrap();
        entries.map(|e| e.unwrap().path()).collect()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join(name)).unwrap()).into_owned()
    }

    /// The words of a delivery to `me`, or to `me-EXT` if there is an extension.
    pub(crate) fn words(&self, ext: Option<&str>) -> Vec<String> {
        let (dash, ext) = ext.map_or(("", ""), |ext| ("-", ext));
        let home = self.home.display().to_string();
        let local = format!("me{dash}{ext}");
        let words = ["--", "me", &home, &local, dash, ext, "h.test"];
        let last = [self.sender.as_str(), &self.default_delivery];
        words.into_iter().chain(last).map(str::to_owned).collect()
    }

    /// What `-n` says would be done, and the exit code.
    pub(crate) fn shown(&self, ext: Option<&str>) -> (String, u8) {
        let run = self.office.run("qmail-local").arg("-n");
        let output = run.args(self.words(ext)).output();
        (output.out_text() + &output.err_text(), output.code())
    }

    /// Delivers for real. The message must be a file, so the shell puts it on descriptor 0.
    pub(crate) fn delivered(&self, ext: Option<&str>) -> Output {
        let program = kit::program("qmail-local");
        let message = self.office.join("message");
        let mut run = kit::Run::new("/bin/sh")
            .args(["-c", "exec \"$@\" <\"$MESSAGE\"", "sh"])
            .arg(program.as_os_str().as_encoded_bytes())
            .args(self.words(ext))
            .env("MESSAGE", message.to_str().unwrap())
            .env("QMAILHOME", self.office.path().to_str().unwrap());
        let bin = self.office.join("bin");
        run = run.env("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
        run.output()
    }

    /// Starts a delivery and does not wait for it.
    pub(crate) fn started(&self, ext: Option<&str>) -> u32 {
        let message = File::open(self.office.join("message")).unwrap();
        let null = File::options().write(true).open("/dev/null").unwrap();
        let program = kit::program("qmail-local");
        Spawn::new(program.as_os_str().as_encoded_bytes())
            .args(self.words(ext))
            .fd(0, message.as_fd())
            .fd(1, null.as_fd())
            .spawn()
            .unwrap()
    }
}
