use super::*;
use crate::sandbox::{Access, Network};

/// What the program answers to a call, by the rules of the kernel's machine.
fn answer(program: &Program, number: i64, arguments: [u32; 6]) -> u32 {
    let (mut at, mut loaded) = (0usize, 0u32);
    loop {
        let step = &program.0[at];
        at += 1;
        let jump = match step.code {
            LOAD => {
                loaded = match step.k {
                    NUMBER => u32::try_from(number).unwrap(),
                    MACHINE => ARCHITECTURE,
                    place => arguments[((place - ARGUMENTS) / 8) as usize],
                };
                continue;
            }
            RETURN => return step.k,
            IF_EQUAL => loaded == step.k,
            IF_NOT_BELOW => loaded >= step.k,
            IF_ANY_BIT => loaded & step.k != 0,
            other => panic!("instruction {other}"),
        };
        at += usize::from(if jump { step.jt } else { step.jf });
    }
}

fn all_kinds() -> Vec<Promises> {
    let files = [Access::Read, Access::Remove, Access::Write, Access::Make];
    let networks = [Network::None, Network::Clients(vec![25]), Network::Local];
    let mut all = Vec::new();
    for network in networks {
        all.push(Promises::new().network(network.clone()));
        for access in files {
            all.push(Promises::new().path("x", access).network(network.clone()));
        }
    }
    all
}

#[test]
fn the_tree_says_what_the_table_says() {
    for promises in all_kinds() {
        let program = Program::new(&promises).unwrap();
        assert!(program.0.len() < 512, "{} steps", program.0.len());
        let table = calls::table(&promises);
        for number in 0..600u32 {
            let verdict = table
                .iter()
                .find(|(n, _)| *n == number)
                .map_or(Verdict::Refuse, |(_, v)| *v);
            let said = |arguments| answer(&program, i64::from(number), arguments);
            match verdict {
                Verdict::Allow => assert_eq!(said([7; 6]), ALLOW, "{number}"),
                Verdict::Refuse => assert_eq!(said([7; 6]), NO_SUCH_CALL, "{number}"),
                Verdict::Kill => assert_eq!(said([7; 6]), KILL, "{number}"),
                Verdict::Without(place, bits) => {
                    let mut arguments = [0; 6];
                    assert_eq!(said(arguments), ALLOW);
                    arguments[place as usize] = bits;
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = !bits;
                    assert_eq!(said(arguments), ALLOW);
                }
                Verdict::OneOf(place, list) => {
                    let mut arguments = [u32::MAX; 6];
                    assert_eq!(said(arguments), NO_ACCESS);
                    for value in list {
                        arguments[place as usize] = *value;
                        assert_eq!(said(arguments), ALLOW);
                    }
                }
                Verdict::OwnProcess(place) => {
                    let mut arguments = [1; 6];
                    assert_eq!(said(arguments), NO_ACCESS);
                    arguments[place as usize] = std::process::id();
                    assert_eq!(said(arguments), ALLOW);
                }
            }
        }
        assert_eq!(answer(&program, 0x4000_0000, [0; 6]), KILL);
        assert_eq!(answer(&program, 0xffff_ffff, [0; 6]), KILL);
    }
}

#[test]
fn no_number_is_in_the_table_twice() {
    for promises in all_kinds() {
        let table = calls::table(&promises);
        for pair in table.windows(2) {
            assert!(pair[0].0 < pair[1].0, "call {} stands twice", pair[0].0);
        }
    }
}

#[test]
fn opening_follows_the_promises() {
    let said = |access, flags: i32| {
        let program = Program::new(&Promises::new().path("x", access)).unwrap();
        answer(&program, libc::SYS_openat, [0, 0, flags as u32, 0, 0, 0]) == ALLOW
    };
    let (reading, writing, making) = (
        libc::O_CLOEXEC | libc::O_DIRECTORY,
        libc::O_WRONLY | libc::O_TRUNC,
        libc::O_RDWR | libc::O_CREAT,
    );
    for (access, expected) in [
        (Access::Read, [true, false, false, false]),
        (Access::Remove, [true, false, false, false]),
        (Access::Write, [true, true, false, false]),
        (Access::Make, [true, true, true, true]),
    ] {
        let found = [reading, writing, making, libc::O_TMPFILE | libc::O_RDWR];
        assert_eq!(
            found.map(|flags| said(access, flags)),
            expected,
            "{access:?}"
        );
    }
    let nothing = Program::new(&Promises::new()).unwrap();
    assert_eq!(answer(&nothing, libc::SYS_openat, [0; 6]), NO_SUCH_CALL);
}
