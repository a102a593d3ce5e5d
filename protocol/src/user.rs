//! A user who signs in, out of the `user_data` that the customer's server signed.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::depth_within;
use crate::limits::{JSON_DEPTH_MAX, USER_ID_CHARS_MAX, WATCHLIST_IDS_MAX};

/// Who signs in, and whom they watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Also names the channel `#server-to-user-{id}`.
    pub id: String,
    /// JSON text of `user_info`, byte for byte as signed; `null` when absent.
    pub user_info: String,
    /// Ids of watched users, each once, at most [`WATCHLIST_IDS_MAX`].
    pub watchlist: Vec<String>,
    /// How many distinct ids of the watchlist were left out beyond that.
    pub watchlist_left_out: usize,
}

/// Why `user_data` describes no user.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UserError {
    /// Not a JSON object, or nested too deep.
    #[error("user_data is not a JSON object")]
    NotJson,
    /// No `id`, or one that is no non-empty string. Source: user authentication page.
    #[error("user_data needs an id that is a non-empty string")]
    NoId,
    /// The id can't be part of a channel name.
    #[error("a user id may hold letters, digits and _ - = @ , . ; only")]
    BadCharacter,
    /// More than [`USER_ID_CHARS_MAX`] characters.
    #[error("a user id has at most {USER_ID_CHARS_MAX} characters")]
    IdTooLong,
    /// `watchlist` is no array of strings.
    #[error("watchlist needs to be an array of user ids, each a string")]
    BadWatchlist,
}

#[derive(Deserialize)]
struct UserData<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
    #[serde(borrow)]
    watchlist: Option<&'a RawValue>,
}

impl User {
    /// Reads `user_data`; other keys are ignored.
    pub fn parse(user_data: &str) -> Result<User, UserError> {
        if !depth_within(user_data, JSON_DEPTH_MAX) {
            return Err(UserError::NotJson);
        }
        let data: UserData<'_> = serde_json::from_str(user_data).map_err(|_| UserError::NotJson)?;
        let id: String = data
            .id
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .filter(|id: &String| !id.is_empty())
            .ok_or(UserError::NoId)?;
        if id.chars().count() > USER_ID_CHARS_MAX {
            return Err(UserError::IdTooLong);
        }
        if !id.bytes().all(crate::channel::is_name_byte) {
            return Err(UserError::BadCharacter);
        }
        let listed: Option<Vec<String>> = match data.watchlist.map(RawValue::get) {
            None | Some("null") => None,
            Some(text) => Some(serde_json::from_str(text).map_err(|_| UserError::BadWatchlist)?),
        };
        let (mut watchlist, mut seen) = (Vec::new(), std::collections::HashSet::new());
        for id in listed.into_iter().flatten() {
            if seen.insert(id.clone()) && watchlist.len() < WATCHLIST_IDS_MAX {
                watchlist.push(id);
            }
        }
        Ok(User {
            id,
            user_info: data.user_info.map_or("null", RawValue::get).to_owned(),
            watchlist_left_out: seen.len() - watchlist.len(),
            watchlist,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_string_as_id_and_may_watch_a_hundred() {
        let user =
            User::parse(r#"{"id":"7","user_info":{"b": 1},"watchlist":["1","2","1"],"x":[]}"#).unwrap();
        assert_eq!((&*user.id, &*user.user_info), ("7", r#"{"b": 1}"#));
        assert_eq!(user.watchlist, ["1", "2"]);
        let ids: Vec<String> = (0..130).map(|n| n.to_string()).collect();
        let many = serde_json::json!({ "id": "7", "watchlist": ids }).to_string();
        let user = User::parse(&many).unwrap();
        assert_eq!((user.watchlist.len(), user.watchlist_left_out), (100, 30));
        assert_eq!(user.watchlist[99], "99");
    }

    #[test]
    fn what_is_no_user_is_named() {
        for (data, error) in [
            ("", UserError::NotJson),
            ("7", UserError::NotJson),
            ("{}", UserError::NoId),
            (r#"{"id":""}"#, UserError::NoId),
            (r#"{"id":7}"#, UserError::NoId),
            (r#"{"id":null}"#, UserError::NoId),
            (r#"{"id":"a b"}"#, UserError::BadCharacter),
            (r#"{"id":"a","watchlist":"b"}"#, UserError::BadWatchlist),
            (r#"{"id":"a","watchlist":[1]}"#, UserError::BadWatchlist),
            (&*format!(r#"{{"id":"{}"}}"#, "x".repeat(185)), UserError::IdTooLong),
            (&*"[".repeat(1_000), UserError::NotJson),
        ] {
            assert_eq!(User::parse(data), Err(error), "{data}");
        }
    }
}
