//! Close codes 4000–4299 and in-band codes 4300+: what they mean and whether the client comes back.
//!
//! Clients decide by range: 4000–4099 never again, 4100–4199 back off, 4200–4299 at once. Source: protocol page.

/// Why the server ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// The app accepts TLS only: the client tries again with it.
    TlsOnly = 4000,
    /// Unknown key: the client stops.
    UnknownApp = 4001,
    /// The app was switched off: the client stops.
    AppDisabled = 4003,
    /// The plan's connections are all in use: the client stops.
    OverConnectionQuota = 4004,
    /// The path is not `/app/{key}`.
    PathNotFound = 4005,
    /// The `version` parameter can't be read.
    BadVersion = 4006,
    /// `protocol` is not 5, 6 or 7.
    UnsupportedProtocol = 4007,
    /// `protocol` is missing.
    NoProtocol = 4008,
    /// The connection isn't allowed: an origin that the app doesn't list, no authorization in time, or a user who was ended.
    Unauthorized = 4009,
    /// The node or this socket is over its capacity: back off and come back.
    OverCapacity = 4100,
    /// The node is going away: come back at once.
    Reconnect = 4200,
    /// No answer to a ping.
    NoPong = 4201,
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// In-band: too many client events in a second. Never a close.
pub const CLIENT_EVENT_RATE: u16 = 4301;
/// In-band: the watchlist had more ids than [`WATCHLIST_IDS_MAX`](crate::limits::WATCHLIST_IDS_MAX). Never a close.
pub const WATCHLIST_TOO_LONG: u16 = 4302;
