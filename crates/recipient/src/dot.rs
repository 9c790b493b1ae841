//! Which .qmail file counts: names and their order, as pure functions. Delivery (qmail-local) and the check at the
//! door (`judge`) both use these, so they cannot disagree.
//!
//! Source  dot-qmail(5), "extension addresses"

use base::Bytes;

/// The end of a name that stands for every extension.
const DEFAULT: &[u8] = b"default";

/// A name to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// file name, relative to the home of the user
    pub name: Bytes,
    /// where in the extension the part begins that `default` stands for; `None` for an exact file
    pub default: Option<usize>,
}

/// The extension as it stands in a file name: lower case, dots made colons.
///
/// With no dot left, an extension cannot name `..`: a slash in it leads down only, never out of the home.
pub fn file_ext(ext: &[u8]) -> Bytes {
    ext.iter()
        .map(|&b| {
            if b == b'.' {
                b':'
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect()
}

/// The names to try, in order: the exact one, then `default` in place of each part after a `-`, from the right, and
/// last of the whole extension. The first that is a regular file counts.
pub fn candidates(dash: &[u8], ext: &[u8]) -> impl Iterator<Item = Candidate> {
    let stem = [b".qmail", dash].concat();
    let ext = file_ext(ext);
    let exact = Candidate {
        name: [stem.as_slice(), &ext].concat(),
        // An address may name the default file itself.
        default: ext.ends_with(DEFAULT).then(|| ext.len() - DEFAULT.len()),
    };
    let defaults = (0..=ext.len()).rev().filter_map(move |at| {
        let kept = ext.get(..at)?;
        (at == 0 || kept.last() == Some(&b'-')).then(|| Candidate {
            name: [stem.as_slice(), kept, DEFAULT].concat(),
            default: Some(at),
        })
    });
    std::iter::once(exact).chain(defaults)
}

/// The files that change the sender of forwards: `-owner`, and `-owner-default` which adds VERP.
pub fn owner_names(dash: &[u8], ext: &[u8]) -> (Bytes, Bytes) {
    let stem = [b".qmail", dash, &file_ext(ext)].concat();
    (
        [stem.as_slice(), b"-owner"].concat(),
        [stem.as_slice(), b"-owner-default"].concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dash: &str, ext: &str) -> Vec<String> {
        candidates(dash.as_bytes(), ext.as_bytes())
            .map(|c| {
                let name = String::from_utf8(c.name).unwrap();
                match c.default {
                    Some(at) => format!("{name} {}", ext.get(at..).unwrap()),
                    None => name,
                }
            })
            .collect()
    }

    #[test]
    fn names_come_in_order() {
        assert_eq!(names("", ""), [".qmail", ".qmaildefault "]);
        assert_eq!(names("-", ""), [".qmail-", ".qmail-default "]);
        assert_eq!(names("-", "a"), [".qmail-a", ".qmail-default a"]);
        assert_eq!(
            names("-", "A-b.C"),
            [
                ".qmail-a-b:c",
                ".qmail-a-default b.C",
                ".qmail-default A-b.C"
            ]
        );
        assert_eq!(
            names("-", "a-b-"),
            [
                ".qmail-a-b-",
                ".qmail-a-b-default ",
                ".qmail-a-default b-",
                ".qmail-default a-b-"
            ]
        );
        assert_eq!(
            names("-", "x-Default"),
            [
                ".qmail-x-default Default",
                ".qmail-x-default Default",
                ".qmail-default x-Default"
            ]
        );
    }

    #[test]
    fn no_extension_leaves_the_home() {
        for ext in ["../../etc/passwd", "/etc/passwd", "x/../..", "..", "."] {
            for candidate in candidates(b"-", ext.as_bytes()) {
                assert!(!candidate.name.contains(&b'.') || candidate.name.starts_with(b".qmail-"));
                assert!(!candidate.name[1..].contains(&b'.'), "{ext}");
            }
        }
    }
}
