//! Where an app's webhooks go, as a node decides by it.

use std::sync::Arc;

use protocol::webhook::Kind;
use serde::{Deserialize, Serialize};

use crate::app::Secret;

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// The set with one more.
    #[must_use]
    pub fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | 1 << kind as u8)
    }

    /// Is it in the set?
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Kinds {
        kinds.into_iter().fold(Kinds::default(), Kinds::with)
    }
}

/// Which channels' events an endpoint gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelFilter {
    /// All.
    All,
    /// Those whose name begins with it.
    Prefix(Box<str>),
    /// The one of this name.
    Exact(Box<str>),
    /// Those whose whole name matches; `*` stands for any text.
    Glob(Box<str>),
}

impl ChannelFilter {
    fn admits(&self, channel: &str) -> bool {
        match self {
            ChannelFilter::All => true,
            ChannelFilter::Prefix(prefix) => channel.starts_with(&**prefix),
            ChannelFilter::Exact(name) => **name == *channel,
            ChannelFilter::Glob(pattern) => glob(pattern.as_bytes(), channel.as_bytes()),
        }
    }
}

/// Does the whole text match? Each star takes as little as it can; when that fails, only the last one takes more, which is
/// enough, since those before it have found their earliest place.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, taken)) = last_star else { return false };
                last_star = Some((star, taken + 1));
                p = star + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// An endpoint of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Names it in storage.
    pub id: Arc<str>,
    /// Where to, as its owner wrote it.
    pub url: Arc<str>,
    /// Which kinds of events.
    pub kinds: Kinds,
    /// Which channels.
    pub channels: ChannelFilter,
    /// The owner's own headers, name and value.
    pub headers: Vec<(String, Secret)>,
    /// On, and not paused for failing too long.
    pub active: bool,
}

impl Endpoint {
    /// Does this event go there?
    pub(crate) fn wants(&self, kind: Kind, channel: &str) -> bool {
        self.active && self.kinds.has(kind) && self.channels.admits(channel)
    }

    /// The address without what may be secret in it, for the console.
    pub(crate) fn shown(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Could any of these endpoints be told of this kind? Of a pair that cancels out in the grace, both count: the end of a
/// channel takes its beginning back, whichever of the two is wanted.
pub(crate) fn any_wants(endpoints: &[Endpoint], kind: Kind) -> bool {
    let partner = match kind {
        Kind::ChannelOccupied => Kind::ChannelVacated,
        Kind::ChannelVacated => Kind::ChannelOccupied,
        Kind::MemberAdded => Kind::MemberRemoved,
        Kind::MemberRemoved => Kind::MemberAdded,
        Kind::ClientEvent | Kind::CacheMiss | Kind::SubscriptionCount | Kind::QuotaThreshold => kind,
    };
    endpoints.iter().any(|e| e.active && (e.kinds.has(kind) || e.kinds.has(partner)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn endpoint(id: &str, url: &str, kinds: &[Kind]) -> Endpoint {
        Endpoint {
            id: id.into(),
            url: url.into(),
            kinds: kinds.iter().copied().collect(),
            channels: ChannelFilter::All,
            headers: vec![],
            active: true,
        }
    }

    #[test]
    fn a_filter_admits_by_beginning_by_name_and_by_pattern() {
        let prefix = ChannelFilter::Prefix("private-".into());
        let exact = ChannelFilter::Exact("orders".into());
        for (filter, channel, admitted) in [
            (&ChannelFilter::All, "anything", true),
            (&prefix, "private-x", true),
            (&prefix, "xprivate-x", false),
            (&exact, "orders", true),
            (&exact, "orders.1", false),
        ] {
            assert_eq!(filter.admits(channel), admitted, "{filter:?} {channel}");
        }
        for (pattern, channel, admitted) in [
            ("*", "x", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abcc", true),
            ("*c", "abcd", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*c*e", "abde", false),
            ("private-order.*.done", "private-order.17.done", true),
            ("private-order.*.done", "private-order.17.done.x", false),
            ("a**b", "ab", true),
            ("", "a", false),
            ("ab", "ab", true),
            ("*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(ChannelFilter::Glob(pattern.into()).admits(channel), admitted, "{pattern} {channel}");
        }
    }

    #[test]
    fn an_endpoint_wants_its_kinds_on_its_channels_while_it_is_active() {
        let mut one = endpoint("e", "https://a.example/x?token=hush", &[Kind::MemberAdded]);
        one.channels = ChannelFilter::Prefix("presence-".into());
        assert!(one.wants(Kind::MemberAdded, "presence-a"));
        assert!(!one.wants(Kind::MemberRemoved, "presence-a") && !one.wants(Kind::MemberAdded, "a"));
        let all = std::slice::from_ref(&one);
        assert!(any_wants(all, Kind::MemberAdded) && any_wants(all, Kind::MemberRemoved), "it could cancel");
        assert!(!any_wants(all, Kind::ClientEvent));
        assert_eq!(one.shown(), "https://a.example/x");
        one.active = false;
        assert!(!one.wants(Kind::MemberAdded, "presence-a"));
        assert!(!any_wants(std::slice::from_ref(&one), Kind::MemberAdded));
    }
}
