//! A member of a presence channel, out of the `channel_data` that the customer's server signed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::depth_within;
use crate::limits::{JSON_DEPTH_MAX, PRESENCE_USER_BYTES_MAX, PRESENCE_USER_ID_CHARS_MAX};

/// Who joins: an id and whatever the customer wants others to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Distinct ids are distinct members, whatever number of sockets they hold.
    pub user_id: String,
    /// JSON text of `user_info`, byte for byte as signed; `null` when absent.
    pub user_info: String,
}

/// Why `channel_data` describes no member.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemberError {
    /// Not a JSON object, or nested too deep.
    #[error("channel_data is not a JSON object")]
    NotJson,
    /// Larger than [`PRESENCE_USER_BYTES_MAX`] bytes.
    #[error("the user object has {0} bytes, at most {PRESENCE_USER_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// No `user_id`, or one that is neither a non-empty string nor a number.
    #[error("channel_data needs a user_id that is a non-empty string or a number")]
    NoUserId,
    /// More than [`PRESENCE_USER_ID_CHARS_MAX`] characters.
    #[error("a user_id has at most {PRESENCE_USER_ID_CHARS_MAX} characters")]
    UserIdTooLong,
}

#[derive(Deserialize)]
struct ChannelData<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
}

impl Member {
    /// The member that a signed-in user is: id and info come from `user_data`.
    pub fn of_user(id: &str, user_info: &str) -> Result<Member, MemberError> {
        let bytes = id.len() + user_info.len();
        if bytes > PRESENCE_USER_BYTES_MAX {
            return Err(MemberError::TooLarge(bytes));
        }
        if id.chars().count() > PRESENCE_USER_ID_CHARS_MAX {
            return Err(MemberError::UserIdTooLong);
        }
        Ok(Member { user_id: id.to_owned(), user_info: user_info.to_owned() })
    }

    /// Reads a presence channel's `channel_data`. Numbers are accepted as ids and given as strings.
    pub fn parse(channel_data: &str) -> Result<Member, MemberError> {
        if channel_data.len() > PRESENCE_USER_BYTES_MAX {
            return Err(MemberError::TooLarge(channel_data.len()));
        }
        if !depth_within(channel_data, JSON_DEPTH_MAX) {
            return Err(MemberError::NotJson);
        }
        let data: ChannelData<'_> = serde_json::from_str(channel_data).map_err(|_| MemberError::NotJson)?;
        let id = data.user_id.ok_or(MemberError::NoUserId)?.get();
        let user_id: Cow<'_, str> = match id.as_bytes().first() {
            Some(b'"') => Cow::Owned(serde_json::from_str(id).map_err(|_| MemberError::NoUserId)?),
            Some(b'0'..=b'9' | b'-') => Cow::Borrowed(id),
            _ => return Err(MemberError::NoUserId),
        };
        if user_id.is_empty() {
            return Err(MemberError::NoUserId);
        }
        if user_id.chars().count() > PRESENCE_USER_ID_CHARS_MAX {
            return Err(MemberError::UserIdTooLong);
        }
        let user_info = data.user_info.map_or("null", RawValue::get).to_owned();
        Ok(Member { user_id: user_id.into_owned(), user_info })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings_or_numbers_and_info_is_kept_byte_for_byte() {
        let ok = |s: &str| Member::parse(s).unwrap();
        assert_eq!(ok(r#"{"user_id":10,"user_info":{"z":1, "a":2}}"#).user_info, r#"{"z":1, "a":2}"#);
        assert_eq!(ok(r#"{"user_id":10}"#), Member { user_id: "10".into(), user_info: "null".into() });
        assert_eq!(ok(r#"{"user_id":"ü","user_info":true}"#).user_id, "ü");
    }

    #[test]
    fn what_is_no_member_is_named() {
        for (data, error) in [
            ("", MemberError::NotJson),
            ("null", MemberError::NotJson),
            ("[1]", MemberError::NoUserId),
            ("{}", MemberError::NoUserId),
            (r#"{"user_id":null}"#, MemberError::NoUserId),
            (r#"{"user_id":""}"#, MemberError::NoUserId),
            (r#"{"user_id":{"a":1}}"#, MemberError::NoUserId),
            (r#"{"user_id":true}"#, MemberError::NoUserId),
        ] {
            let seen = Member::parse(data);
            assert!(seen == Err(error.clone()) || data == "[1]" && seen.is_err(), "{data}: {seen:?}");
        }
        assert_eq!(
            Member::parse(&format!(r#"{{"user_id":"{}"}}"#, "x".repeat(129))),
            Err(MemberError::UserIdTooLong)
        );
        let large = format!(r#"{{"user_id":"1","user_info":"{}"}}"#, "x".repeat(1024));
        assert!(matches!(Member::parse(&large), Err(MemberError::TooLarge(_))));
        assert_eq!(Member::parse(&"[".repeat(1000)), Err(MemberError::NotJson));
    }
}
