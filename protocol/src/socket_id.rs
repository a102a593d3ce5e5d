//! The id of a connection: two decimal numbers with a dot, as every server SDK checks before it signs.

use std::fmt;

/// `digits.digits`, unique within an app while the connection lives. The second half is random, since it is signed into
/// channel tokens and must not be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    /// First half.
    pub node: u32,
    /// Second half.
    pub random: u64,
}

impl SocketId {
    /// Parses the form `\A\d+\.\d+\z`. An id whose halves don't fit is well-formed for an SDK but can't be one of ours:
    /// it gives a value that equals no live socket.
    pub fn parse(text: &str) -> Option<SocketId> {
        let (first, second) = text.split_once('.')?;
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(second) || text.len() > 64 {
            return None;
        }
        Some(SocketId { node: first.parse().unwrap_or(u32::MAX), random: second.parse().unwrap_or(u64::MAX) })
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::SocketId;

    #[test]
    fn only_digits_dot_digits_is_a_socket_id() {
        for good in ["1.2", "123476.30606521", "0.0"] {
            assert_eq!(SocketId::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", ".", "1", "1.", ".1", "a.1", "1.b", "1.2.3", " 1.2", "1.2\n", "-1.2", "1,2", "１.2"]
        {
            assert!(SocketId::parse(bad).is_none(), "{bad:?}");
        }
        assert!(SocketId::parse("99999999999999.1").is_some(), "well-formed although it can't be ours");
    }
}
