//! What nodes say to each other through Redis, in bytes. Publications and what scripts tell have forms of their own, since a
//! script writes texts and a publication must not be copied.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::socket_id::SocketId;

use super::remote::Change;

/// Letter, class, node, number, excluded socket: what stands before the frame of a publication.
const HEAD: usize = 2 + 8 + 8 + 16;

/// Whose deliveries a publication's are, for the count of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Api,
    Client,
}

/// A frame for a channel's subscribers on other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) sort: Sort,
    /// The process that accepted it.
    pub(crate) run: u64,
    /// Rises with each publication of that process, so that one that is sent again is known.
    pub(crate) seq: u64,
    pub(crate) exclude: Option<SocketId>,
    /// As it goes out to sockets.
    pub(crate) frame: Bytes,
}

/// What other nodes have of a channel, and what it holds as a cache channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) app_id: u64,
    pub(crate) channel: Arc<str>,
    pub(crate) parts: HashMap<Arc<str>, Change>,
    /// The frame, and for how many milliseconds it is still kept.
    pub(crate) cached: Option<(Bytes, u64)>,
}

/// All that a node may hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Publication(Publication),
    /// A node tells its part of the topic's channel.
    Part(Arc<str>, Change),
    Loaded(Loaded),
    /// What is for every node: a name, and texts that belong to it.
    Notice(String, Vec<String>),
}

impl Publication {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(HEAD + self.frame.len());
        out.extend_from_slice(match self.sort {
            Sort::Api => b"EA",
            Sort::Client => b"EC",
        });
        let exclude = self.exclude.unwrap_or(SocketId { node: 0, random: 0 });
        for word in [self.run, self.seq, exclude.node.into(), exclude.random] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.frame);
        out.into()
    }
}

/// Texts, each behind its length, as the scripts write them.
pub(crate) fn texts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Bytes {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("{}:", part.len()).as_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out.into()
}

/// A notice for every node.
pub(crate) fn notice(name: &str, texts_of_it: &[&str]) -> Bytes {
    texts(["N", name].into_iter().chain(texts_of_it.iter().copied()))
}

struct Texts(Bytes);

impl Texts {
    fn bytes(&mut self) -> Option<Bytes> {
        let colon = self.0.iter().take(12).position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&self.0[..colon]).ok()?.parse().ok()?;
        let end = (colon + 1).checked_add(length).filter(|end| *end <= self.0.len())?;
        let found = self.0.slice(colon + 1..end);
        self.0 = self.0.slice(end..);
        Some(found)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Message {
    /// Reads what came on a topic. `None`: nothing that a node of this release says.
    pub(crate) fn parse(bytes: Bytes) -> Option<Message> {
        if bytes.first() == Some(&b'E') {
            return publication(&bytes).map(Message::Publication);
        }
        let mut texts = Texts(bytes);
        match texts.text()?.as_str() {
            "S" => {
                let node: Arc<str> = texts.text()?.into();
                let (subscriptions, added) = (texts.number()?, texts.number::<u32>()?);
                let mut change = Change { subscriptions, ..Change::default() };
                for _ in 0..added {
                    change.added.push((texts.text()?.into(), texts.text()?.into()));
                }
                while !texts.is_empty() {
                    change.removed.push(texts.text()?.into());
                }
                Some(Message::Part(node, change))
            }
            "L" => loaded(texts).map(Message::Loaded),
            "N" => {
                let name = texts.text()?;
                let mut rest = Vec::new();
                while !texts.is_empty() {
                    rest.push(texts.text()?);
                }
                Some(Message::Notice(name, rest))
            }
            _ => None,
        }
    }
}

fn publication(bytes: &Bytes) -> Option<Publication> {
    let head = bytes.get(..HEAD)?;
    let sort = match head[1] {
        b'A' => Sort::Api,
        b'C' => Sort::Client,
        _ => return None,
    };
    let word = |n: usize| {
        let at = 2 + 8 * n;
        let bytes: [u8; 8] = head.get(at..at + 8).and_then(|word| word.try_into().ok()).unwrap_or_default();
        u64::from_be_bytes(bytes)
    };
    let exclude = SocketId { node: word(2).try_into().ok()?, random: word(3) };
    let exclude = (exclude != SocketId { node: 0, random: 0 }).then_some(exclude);
    Some(Publication { sort, run: word(0), seq: word(1), exclude, frame: bytes.slice(HEAD..) })
}

fn loaded(mut texts: Texts) -> Option<Loaded> {
    let mut loaded = Loaded { app_id: texts.number()?, channel: texts.text()?.into(), ..Loaded::default() };
    for _ in 0..texts.number::<u32>()? {
        let (node, subscriptions): (Arc<str>, u32) = (texts.text()?.into(), texts.number()?);
        loaded.parts.entry(node).or_default().subscriptions = subscriptions;
    }
    for _ in 0..texts.number::<u32>()? {
        let (field, info) = (texts.text()?, texts.text()?);
        let (node, user) = field.split_once('|')?;
        // A user of a node without connections is left over of a node that was buried meanwhile.
        if let Some(part) = loaded.parts.get_mut(node) {
            part.added.push((user.into(), info.into()));
        }
    }
    if !texts.is_empty() {
        loaded.cached = Some((texts.bytes()?, texts.number()?));
    }
    Some(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_publication_comes_out_as_it_went_in() {
        let exclude = Some(SocketId { node: 7, random: 9 });
        for (sort, exclude) in [(Sort::Api, None), (Sort::Client, exclude)] {
            let frame = Bytes::from_static(b"\x81\x02{}");
            let one = Publication { sort, run: u64::MAX, seq: 3, exclude, frame };
            assert_eq!(Message::parse(one.encode()), Some(Message::Publication(one)));
        }
    }

    #[test]
    fn what_scripts_tell_is_read() {
        let part = texts(["S", "n1", "2", "1", "ana", r#"{"a":1}"#, "ben"]);
        let change = Change {
            subscriptions: 2,
            added: vec![("ana".into(), r#"{"a":1}"#.into())],
            removed: vec!["ben".into()],
        };
        assert_eq!(Message::parse(part), Some(Message::Part("n1".into(), change)));
        let all =
            texts(["L", "1001", "c", "1", "n2", "3", "2", "n2|x|y", "{}", "dead|z", "{}", "frame", "500"]);
        let Some(Message::Loaded(loaded)) = Message::parse(all) else { panic!() };
        assert_eq!((loaded.app_id, &*loaded.channel, loaded.parts.len()), (1001, "c", 1));
        assert_eq!(loaded.parts["n2"].added, [("x|y".into(), "{}".into())]);
        assert_eq!(loaded.cached, Some((Bytes::from_static(b"frame"), 500)));
        assert_eq!(
            Message::parse(notice("terminate", &["1001", "ana"])),
            Some(Message::Notice("terminate".into(), vec!["1001".into(), "ana".into()]))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(bytes.into());
        }
    }
}
