use super::*;

/// What comes of a password when the other side says `text`.
fn answered(text: &[u8]) -> Result<Fields, Trouble> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(text).unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let talk = Talk {
        input: BufReader::new(ours),
    };
    talk.password(&[b"service=smtp".to_vec()], b"tim", b"secret")
}

const GREETING: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t7\nDONE\n";

#[test]
fn replies_are_understood() {
    let said = |text: &str| answered(format!("{GREETING}{text}").as_bytes());
    let fields = said("OK\t1\tuser=tim\x01tx\tnologin\n").unwrap().unwrap();
    assert_eq!(fields[0], (b"user".to_vec(), b"tim\tx".to_vec()));
    assert_eq!(fields[1], (b"nologin".to_vec(), b"".to_vec()));
    assert_eq!(said("FAIL\t1\tuser=tim\n"), Ok(None));
    assert!(said("FAIL\t1\tuser=tim\ttemp\n").is_err());
    assert!(said("FAIL\t1\tuser=tim\tcode=temp_fail\n").is_err());
    assert!(said("CONT\t1\t\n").is_err());
    // The answer to somebody else's question, then silence.
    assert!(said("OK\t2\tuser=tim\n").is_err());
    assert!(said("OK\t1\tuser=ti").is_err());
}

#[test]
fn another_version_or_no_greeting_is_trouble() {
    assert!(answered(b"VERSION\t2\t0\nDONE\nOK\t1\tuser=tim\n").is_err());
    assert!(answered(b"").is_err());
    assert!(answered(&b"SPID\t1\n".repeat(101)).is_err());
    assert!(answered(&[b'x'; 10_000]).is_err());
}

#[test]
fn fields_keep_their_bytes() {
    let odd: Bytes = (0..=255).collect();
    assert_eq!(unescape(&escape(&odd)), odd);
    assert!(!escape(&odd).contains(&b'\t') && !escape(&odd).contains(&b'\n'));
}
