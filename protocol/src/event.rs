//! Event names: whose they are.

use crate::limits::EVENT_NAME_CHARS_MAX;

/// Why a text can't name an event that a customer publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EventNameError {
    /// No characters.
    #[error("an event name can't be empty")]
    Empty,
    /// More than [`EVENT_NAME_CHARS_MAX`] characters.
    #[error("an event name has at most {EVENT_NAME_CHARS_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// `pusher:` and `pusher_internal:` belong to the protocol.
    #[error("event names that start with pusher: or pusher_internal: are reserved")]
    Reserved,
}

/// Checks the name of an event that a customer's server publishes. Any characters go: Laravel sends class names with
/// backslashes.
pub fn check_published(name: &str) -> Result<(), EventNameError> {
    if name.is_empty() {
        return Err(EventNameError::Empty);
    }
    if name.len() > EVENT_NAME_CHARS_MAX {
        let chars = name.chars().count();
        if chars > EVENT_NAME_CHARS_MAX {
            return Err(EventNameError::TooLong(chars));
        }
    }
    if is_reserved(name) {
        return Err(EventNameError::Reserved);
    }
    Ok(())
}

/// Does the name belong to the protocol itself?
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("pusher:") || name.starts_with("pusher_internal:")
}

/// Is it the name of a client event? Source: client events page.
pub fn is_client_event(name: &str) -> bool {
    name.starts_with("client-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_pass_and_protocol_names_do_not() {
        for good in ["x", "App\\Events\\OrderShipped", "client-x", "pusher", "a b", "ü", &"é".repeat(200)] {
            assert_eq!(check_published(good), Ok(()), "{good}");
        }
        assert_eq!(check_published(""), Err(EventNameError::Empty));
        assert_eq!(check_published(&"x".repeat(201)), Err(EventNameError::TooLong(201)));
        assert_eq!(check_published("pusher:x"), Err(EventNameError::Reserved));
        assert_eq!(check_published("pusher_internal:x"), Err(EventNameError::Reserved));
    }
}
