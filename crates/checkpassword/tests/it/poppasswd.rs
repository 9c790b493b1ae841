use auth::sasl::cram_digest;

use super::*;

fn ask_pop(strings: &[&str]) -> Output {
    let home = Home::new("poppasswd");
    let file = home.write("pop", "tim:tanstaaf\nempty:\ntom:se:cret\n");
    let text = strings.join("\0") + "\0";
    let run = home
        .run("cmd5checkpw")
        .env("POPPASSWD", file.to_str().unwrap());
    let run = if sys::ids::euid() == 0 {
        run.ids(UID, UID)
    } else {
        run
    };
    run.args(TELLS).input(3, text).output()
}

#[test]
fn clear_passwords_for_plain_and_cram() {
    let challenge = "<1.2@h.example>";
    let digest = String::from_utf8(cram_digest(b"tanstaaf", challenge.as_bytes())).unwrap();
    for right in [
        ["tim", "tanstaaf", ""],
        ["tim", &digest, challenge],
        ["tim", challenge, &digest],
        ["tom", "se:cret", ""],
    ] {
        let out = ask_pop(&right);
        assert_eq!(out.code(), 0, "{right:?} {}", out.err_text());
        assert!(out.out_text().starts_with(right[0]));
    }
    let wrong = "0".repeat(32);
    for bad in [
        ["tim", "tanstaa", ""],
        ["tim", &wrong, challenge],
        ["tim", &digest, "<1.3@h.example>"],
        ["ti", "tanstaaf", ""],
        ["empty", "", ""],
        ["tim:tanstaaf", "", ""],
        ["tim", &digest, ""],
    ] {
        assert_eq!(ask_pop(&bad).code(), 1, "{bad:?}");
    }
}

#[test]
fn without_its_file_nobody_can_tell() {
    let home = Home::new("poppasswd-none");
    let run = home
        .run("cmd5checkpw")
        .env("POPPASSWD", "/nonexistent/poppasswd");
    assert_eq!(run.args(TELLS).input(3, b"a\0b\0\0").output().code(), 111);
}
