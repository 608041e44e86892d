//! Whose quotes a channel's shares earn: the locking key in its `user_identity`, and what the pages show of it.
//!
//! The part before the first `.` is the key, what follows is the worker's own name. A text that was clearly meant as a
//! key must be one: whoever mistypes it would mine for nobody, and learn it too late.

use crate::config::LockingKey;

/// What a channel's `user_identity` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A key to lock quotes to.
    Key([u8; 33]),
    /// A name of another kind.
    Name,
}

/// An identity that looks like a key and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it holds what looks like a locking key, and the part before the first '.' is none: expected the 66 hex digits of a compressed public key there and nothing else"
)]
pub(crate) struct NotAKey;

/// Hex digits of a compressed key.
const DIGITS: usize = 66;
/// From this many hex digits on, a name counts as a key that was mistyped. No worker calls itself that by chance, and a
/// key that lost more than a third of its digits is no slip.
const LOOKS_LIKE: usize = 40;
/// An identity with so many hex digits, whatever stands before and between them, holds a key in the wrong place.
const HOLDS: usize = 60;

impl Identity {
    /// Reads an identity.
    ///
    /// A part before the `.` that is a compressed public key in hex is one. It looks like one, and is refused, if it
    /// consists of 40 or more hex digits (an x-only or uncompressed key, one cut short or off the curve), or if it is
    /// 64 to 68 characters that begin with `02` or `03` (one with a letter that is no digit). Quotes and spaces around it
    /// make it no name, nor does `0x` before 64 or more digits, or a worker's name that follows without a `.`. Nor may a key
    /// stand elsewhere, as in `rig1.KEY`, or be torn by what can't be seen: 60 hex digits in all are refused.
    ///
    /// # Errors
    /// [`NotAKey`].
    pub(crate) fn of(user_identity: &str) -> Result<Self, NotAKey> {
        let name = user_identity.split('.').next().unwrap_or_default();
        if let Ok(key) = LockingKey::try_from(name.to_owned()) {
            return Ok(Self::Key(key.to_bytes()));
        }
        let bare = name.trim_matches(|char: char| !char.is_alphanumeric());
        let unprefixed = bare
            .strip_prefix("0x")
            .or_else(|| bare.strip_prefix("0X"))
            .unwrap_or(bare);
        // Up to a separator that is no '.'. A whole key's digits, since a shorter hash or address may be part of a name.
        let head = unprefixed
            .split(|char: char| !char.is_alphanumeric())
            .next()
            .unwrap_or_default();
        let digits = user_identity.bytes().filter(u8::is_ascii_hexdigit).count();
        if digits >= HOLDS
            || looks_like_a_key(name, LOOKS_LIKE)
            || looks_like_a_key(bare, LOOKS_LIKE)
            || looks_like_a_key(head, DIGITS - 2)
        {
            Err(NotAKey)
        } else {
            Ok(Self::Name)
        }
    }

    /// The key, if it is one.
    pub(crate) fn key(self) -> Option<[u8; 33]> {
        match self {
            Self::Key(key) => Some(key),
            Self::Name => None,
        }
    }
}

/// Whether it is so many hex digits, or about as long as a key and begins like one.
fn looks_like_a_key(text: &str, digits: usize) -> bool {
    let all_hex = text.len() >= digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let prefixed = text.starts_with("02") || text.starts_with("03");
    let sized = (DIGITS - 2..=DIGITS + 2).contains(&text.len());
    all_hex || (prefixed && sized)
}

/// Characters that a public page shows at the front and at the end of a name that is longer than both together.
const FRONT: usize = 8;
const END: usize = 4;
/// Characters that it shows of a worker's own name.
const WORKER: usize = 24;

/// A `user_identity` as public pages show it: the first 8 and the last 4 characters of the part before the `.`, and
/// what follows up to 24 characters. Control characters are replaced.
pub(crate) fn shortened(user_identity: &str) -> String {
    let mut parts = user_identity.splitn(2, '.');
    let name: Vec<char> = parts.next().unwrap_or_default().chars().map(shown).collect();
    let mut text: String = if name.len() > FRONT + END + 1 {
        let front = name.iter().take(FRONT);
        let end = name.iter().skip(name.len() - END);
        front.chain(&['…']).chain(end).collect()
    } else {
        name.into_iter().collect()
    };
    if let Some(worker) = parts.next() {
        text.push('.');
        text.extend(worker.chars().take(WORKER).map(shown));
        if worker.chars().nth(WORKER).is_some() {
            text.push('…');
        }
    }
    text
}

fn shown(char: char) -> char {
    if char.is_control() || turns_text(char) {
        '\u{fffd}'
    } else {
        char
    }
}

/// The explicit formatting characters of Unicode's bidirectional algorithm (UAX 9, section 2): with them a name could
/// read as another one.
fn turns_text(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn the_first_part_is_the_key() {
        for identity in [
            KEY.to_owned(),
            format!("{KEY}.rig7"),
            format!("{}.a.b", KEY.to_uppercase()),
        ] {
            let key = Identity::of(&identity).unwrap().key().unwrap();
            assert_eq!((key[0], key[1], key[32]), (2, 0x79, 0x98), "{identity}");
        }
    }

    #[test]
    fn other_names_are_names() {
        for name in [
            "",
            "alice",
            "alice.rig1",
            "sri/solo/bc1q",
            ".",
            "deadbeef",
            "0xbeef",
            "\"alice\"",
            " alice .rig1",
            "02-rig_7",
            // An address of another chain, and a worker with a UUID.
            &format!("0x{}", &KEY[..40]),
            &format!("0x{}.rig1", &KEY[..40]),
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "ééé",
        ] {
            assert_eq!(Identity::of(name), Ok(Identity::Name), "{name:?}");
        }
    }

    #[test]
    fn what_was_meant_as_a_key_must_be_one() {
        let off_the_curve = format!("02{}", "ff".repeat(32));
        for bad in [
            &KEY[..65],
            &KEY[2..],
            &KEY[..40],
            &format!("{KEY}00"),
            &format!("04{}", &KEY[2..]),
            &format!("{}O.rig", &KEY[..65]),
            &off_the_curve,
        ] {
            assert_eq!(Identity::of(bad), Err(NotAKey), "{bad}");
        }
    }

    #[test]
    fn a_key_with_something_around_it_is_neither_a_key_nor_a_name() {
        for bad in [
            format!("alice.{KEY}"),
            format!("pool/{KEY}"),
            format!("key:{KEY}"),
            format!("O2{}", &KEY[2..]),
            format!("{}\u{200b}{}", &KEY[..20], &KEY[20..]),
            format!("0x{KEY}"),
            format!("0X{KEY}.rig1"),
            format!("0x{}", &KEY[2..]),
            format!("{KEY}/rig1"),
            format!("{KEY}:rig1"),
            format!("{KEY}_rig1"),
            format!("{KEY}-rig1.a"),
            format!("{KEY} rig1"),
            format!("0x{KEY}_rig1"),
            format!("{}O/rig1", &KEY[..65]),
            format!(" {KEY}"),
            format!("{KEY}\n"),
            format!("{KEY} .rig1"),
            format!("\"{KEY}\""),
            format!("'{KEY}.rig1'"),
            format!("“{KEY}”"),
            format!("\"{}\"", &KEY[..60]),
        ] {
            assert_eq!(Identity::of(&bad), Err(NotAKey), "{bad:?}");
        }
    }

    #[test]
    fn pages_show_a_name_shortened_and_its_worker() {
        assert_eq!(shortened(&format!("{KEY}.rig7")), "0279be66…1798.rig7");
        assert_eq!(shortened("alice"), "alice");
        assert_eq!(shortened("alice.\n"), "alice.\u{fffd}");
        assert_eq!(shortened("alice.\u{202e}live"), "alice.\u{fffd}live");
        assert_eq!(shortened("thirteenchars"), "thirteenchars");
        assert_eq!(shortened("fourteen-chars"), "fourteen…hars");
        assert_eq!(
            shortened(&format!("a.{}", "w".repeat(30))),
            format!("a.{}…", "w".repeat(24))
        );
        assert_eq!(shortened("ééééééééééééééé"), "éééééééé…éééé");
    }
}
