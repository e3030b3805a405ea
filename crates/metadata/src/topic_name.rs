//! Which names a topic may have. Source: `Topic` in kafka-clients.

/// Longest name, in characters: with the partition's number it must fit into a directory's name.
const LENGTH_MAX: usize = 249;

/// Why a name is refused, as clients are told.
pub fn validate(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_string(),
        "." => "'.' is not allowed".to_string(),
        ".." => "'..' is not allowed".to_string(),
        _ if name.chars().count() > LENGTH_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
        }
        _ if !name.bytes().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    Err(format!("Topic name is invalid: {reason}"))
}

/// The name that two colliding names share: metrics cannot tell a period from an underscore. `None` for a name that
/// has neither.
pub fn collision(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// Whether brokers keep their own state in that topic.
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_length_and_an_alphabet() {
        assert_eq!(validate("a-B_9."), Ok(()));
        assert_eq!(validate(&"x".repeat(249)), Ok(()));
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn periods_collide_with_underscores() {
        assert_eq!(collision("a.b"), collision("a_b"));
        assert_ne!(collision("a.b"), collision("a.c"));
        assert_eq!(collision("ab"), None);
    }
}
