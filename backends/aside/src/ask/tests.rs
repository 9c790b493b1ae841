use super::*;

fn told(limit: u64, job: impl FnOnce() -> Result<Answer, Trouble>) -> Result<Answer, String> {
    ask(Duration::from_secs(limit), None, job)
        .map_err(|die| String::from_utf8(die.line("x")).unwrap())
}

#[test]
fn an_answer_comes_back() {
    let mut row = Row::default();
    row.add("home", b"/home/tim");
    assert_eq!(told(30, || Ok(Some(row.clone()))), Ok(Some(row.clone())));
    assert_eq!(told(30, || Ok(None)), Ok(None));
}

#[test]
fn trouble_is_said_and_temporary() {
    let job = || Err(Trouble::unable("connect", "refused"));
    let die = ask(Duration::from_secs(30), None, job).unwrap_err();
    assert_eq!(die.code, 111);
    assert_eq!(die.line("x"), b"x: fatal: unable to connect: refused\n");
}

#[test]
fn a_crash_is_temporary() {
    let crashed = told(30, || std::process::abort());
    assert_eq!(
        crashed,
        Err("x: fatal: the process that asks the server has crashed\n".to_owned())
    );
}

#[test]
fn who_takes_too_long_is_killed() {
    let begun = Instant::now();
    let late = told(1, || {
        std::thread::sleep(Duration::from_mins(1));
        Ok(None)
    });
    assert_eq!(
        late,
        Err("x: fatal: the server took too long to answer\n".to_owned())
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn too_much_is_not_taken() {
    let mut row = Row::default();
    row.add("home", vec![b'x'; LIMIT]);
    assert!(told(30, || Ok(Some(row))).is_err());
}

#[test]
fn the_environment_stays_behind() {
    assert!(std::env::var_os("PATH").is_some());
    let seen = told(30, || {
        let mut row = Row::default();
        row.add("left", std::env::vars_os().count().to_string());
        Ok(Some(row))
    });
    assert_eq!(seen.unwrap().unwrap().get("left"), Some(&b"0"[..]));
}

#[test]
fn memory_ends_before_the_machine_does() {
    let begun = Instant::now();
    let full = told(60, || {
        let mut kept: Vec<Bytes> = Vec::new();
        while kept.len() < 64 {
            let mut more = Bytes::new();
            if more.try_reserve_exact(16 << 20).is_err() {
                return Err(Trouble::unable("go on", kept.len()));
            }
            more.resize(16 << 20, 1);
            kept.push(more);
        }
        Ok(None)
    });
    assert!(
        full.unwrap_err().starts_with("x: fatal: unable to go on: "),
        "it had a gigabyte"
    );
    assert!(begun.elapsed() < Duration::from_secs(50));
}
