//! Channel names and what a name says about its channel. This is the one place that decides a channel's kind.

use crate::limits::CHANNEL_NAME_CHARS_MAX;

/// What kind of channel a name means. Decided by prefix, longest first. Source: channel pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Access {
    /// Anybody with the app's key.
    Public,
    /// Needs a signature of the customer's server.
    Private,
    /// As private; the payload is ciphertext, for us opaque.
    Encrypted,
    /// Needs a signature and tells who is here.
    Presence,
    /// `#server-to-user-{id}`: events for one signed-in user.
    ServerToUser,
}

/// A channel's kind: who may subscribe, and whether its last event is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ChannelKind {
    /// Who may subscribe.
    pub access: Access,
    /// One of the four `cache-` forms.
    pub cache: bool,
}

/// Why a text is no channel name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChannelNameError {
    /// No characters at all.
    #[error("a channel name can't be empty")]
    Empty,
    /// More than [`CHANNEL_NAME_CHARS_MAX`] characters.
    #[error("a channel name has at most {CHANNEL_NAME_CHARS_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `A-Z a-z 0-9 _ - = @ , . ;`.
    #[error("a channel name may hold letters, digits and _ - = @ , . ; only")]
    BadCharacter,
    /// `#` starts a system channel, and only `#server-to-user-` exists.
    #[error("names that start with # are reserved")]
    Reserved,
}

const SERVER_TO_USER: &str = "#server-to-user-";

/// May this byte stand in a channel name, or in the id of a user who signs in?
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;".contains(&byte)
}

/// A checked channel name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ChannelName<'a>(&'a str);

impl<'a> ChannelName<'a> {
    /// Checks length and characters. Source: channels page, all SDKs.
    pub fn parse(text: &'a str) -> Result<ChannelName<'a>, ChannelNameError> {
        let rest = match text.strip_prefix('#') {
            Some(_) => text.strip_prefix(SERVER_TO_USER).ok_or(ChannelNameError::Reserved)?,
            None => text,
        };
        if rest.is_empty() {
            return Err(ChannelNameError::Empty);
        }
        if text.len() > CHANNEL_NAME_CHARS_MAX {
            return Err(ChannelNameError::TooLong(text.chars().count()));
        }
        if !rest.bytes().all(is_name_byte) {
            return Err(ChannelNameError::BadCharacter);
        }
        Ok(ChannelName(text))
    }

    /// The name as it was given.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The kind that this name means.
    pub fn kind(self) -> ChannelKind {
        ChannelKind::of(self.0)
    }

    /// The user of a `#server-to-user-{id}` channel.
    pub fn server_to_user(self) -> Option<&'a str> {
        self.0.strip_prefix(SERVER_TO_USER)
    }
}

impl ChannelKind {
    /// The kind that a name means; total, so that it also serves for names that were checked long ago.
    pub fn of(name: &str) -> ChannelKind {
        use Access::*;
        const PREFIXES: [(&str, Access, bool); 8] = [
            ("private-encrypted-cache-", Encrypted, true),
            ("private-encrypted-", Encrypted, false),
            ("private-cache-", Private, true),
            ("private-", Private, false),
            ("presence-cache-", Presence, true),
            ("presence-", Presence, false),
            ("cache-", Public, true),
            (SERVER_TO_USER, ServerToUser, false),
        ];
        PREFIXES.iter().find(|(prefix, ..)| name.starts_with(prefix)).map_or(
            ChannelKind { access: Public, cache: false },
            |&(_, access, cache)| ChannelKind { access, cache },
        )
    }

    /// Does a subscription need a signature of the customer's server?
    pub fn needs_auth(self) -> bool {
        matches!(self.access, Access::Private | Access::Encrypted | Access::Presence)
    }

    /// May clients trigger events here (when the app allows client events at all)?
    pub fn allows_client_events(self) -> bool {
        self.needs_auth()
    }

    /// Is it a presence channel?
    pub fn is_presence(self) -> bool {
        self.access == Access::Presence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_with_its_dash_decides_the_kind() {
        use Access::*;
        for (name, access, cache) in [
            ("orders", Public, false),
            ("private", Public, false),
            ("privateer", Public, false),
            ("presences", Public, false),
            ("cachet", Public, false),
            ("cache-", Public, true),
            ("cache-ticker", Public, true),
            ("private-x", Private, false),
            ("private-cache-x", Private, true),
            ("private-cachex", Private, false),
            ("private-encrypted-x", Encrypted, false),
            ("private-encryptedx", Private, false),
            ("private-encrypted-cache-x", Encrypted, true),
            ("presence-x", Presence, false),
            ("presence-cache-x", Presence, true),
            ("Private-x", Public, false),
            ("#server-to-user-7", ServerToUser, false),
        ] {
            assert_eq!(ChannelKind::of(name), ChannelKind { access, cache }, "{name}");
        }
    }

    #[test]
    fn names_are_checked_for_length_and_characters() {
        assert!(ChannelName::parse("a-Z0_=@,.;").is_ok());
        assert!(ChannelName::parse(&"x".repeat(200)).is_ok());
        assert_eq!(ChannelName::parse(&"x".repeat(201)), Err(ChannelNameError::TooLong(201)));
        assert_eq!(ChannelName::parse(""), Err(ChannelNameError::Empty));
        for bad in ["a b", "a/b", "ü", "a:b", "a\n", "a#b", "a\\b", "a\0"] {
            assert_eq!(ChannelName::parse(bad), Err(ChannelNameError::BadCharacter), "{bad:?}");
        }
        assert_eq!(ChannelName::parse("#other"), Err(ChannelNameError::Reserved));
        assert_eq!(ChannelName::parse("#server-to-user-"), Err(ChannelNameError::Empty));
        assert_eq!(ChannelName::parse("#server-to-user-42").unwrap().server_to_user(), Some("42"));
    }
}
