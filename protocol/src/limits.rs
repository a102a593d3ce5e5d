//! Every maximum of the protocol, with its unit and where it comes from.

/// Bytes (UTF-8) of one event's `data`. Source: REST reference, "10 kB"; measured by customers as 10,240.
pub const EVENT_DATA_BYTES_MAX: usize = 10_240;
/// Characters of an event name. Source: every server SDK.
pub const EVENT_NAME_CHARS_MAX: usize = 200;
/// Characters of a channel name. The docs say 164, all SDKs enforce 200; the larger one is accepted.
pub const CHANNEL_NAME_CHARS_MAX: usize = 200;
/// Channels in one publish. Source: REST reference.
pub const CHANNELS_PER_PUBLISH_MAX: usize = 100;
/// Events in one batch. Source: REST reference.
pub const BATCH_EVENTS_MAX: usize = 10;
/// Members of a presence channel on hosted plans. Source: presence page.
pub const PRESENCE_MEMBERS_MAX: u32 = 100;
/// Bytes of a presence member's user object (`channel_data`). Source: presence page, "1 kB".
pub const PRESENCE_USER_BYTES_MAX: usize = 1_024;
/// Characters of a presence `user_id`. Source: presence page.
pub const PRESENCE_USER_ID_CHARS_MAX: usize = 128;
/// Characters of the id of a user who signs in: with `#server-to-user-` before it, it must still be a channel name.
pub const USER_ID_CHARS_MAX: usize = CHANNEL_NAME_CHARS_MAX - "#server-to-user-".len();
/// Ids of a watchlist; those beyond are left out and error 4302 says so. Source: watchlist page.
pub const WATCHLIST_IDS_MAX: usize = 100;
/// Seconds that the last event of a cache channel is kept. Source: cache channels page, "up to 30 minutes".
pub const CACHE_SECONDS: u64 = 30 * 60;
/// Subscribers above which their number is told at most every [`SUBSCRIPTION_COUNT_SECONDS`]. Source: subscription count page.
pub const SUBSCRIPTION_COUNT_AT_ONCE_MAX: u32 = 100;
/// Seconds between two `subscription_count` frames of a large channel. Source: subscription count page.
pub const SUBSCRIPTION_COUNT_SECONDS: u64 = 5;
/// Seconds in which a connection of an app with authorized connections must sign in or join a private or presence channel.
/// Source: customers' reports; the page names no number.
pub const AUTHORIZE_SECONDS: u32 = 30;
/// Client events per second and connection. Source: client events page.
pub const CLIENT_EVENTS_PER_SECOND_MAX: u32 = 10;
/// Bytes of one inbound WebSocket message: a 10 kB client event, a 1 kB user object and the envelope fit several times.
pub const INBOUND_MESSAGE_BYTES_MAX: usize = 32 * 1_024;
/// Bytes of a REST body: ten events of 10 kB, every byte of them escaped as six (`\u00ff`), and their envelopes.
pub const REST_BODY_BYTES_MAX: usize = 10 * 6 * EVENT_DATA_BYTES_MAX + 64 * 1_024;
/// Query parameters of a REST request: a publish with all it may name comes to 110; each is sorted and compared several times.
pub const QUERY_PARAMETERS_MAX: usize = 256;
/// Depth of JSON that outsiders may send. Deeper input is refused, whatever reads it later cannot overflow a stack.
pub const JSON_DEPTH_MAX: usize = 64;
/// Seconds between a request's `auth_timestamp` and our clock; exactly this many is already refused.
pub const REQUEST_AGE_SECONDS_MAX: i64 = 600;
/// Seconds of silence after which either side asks whether the other is alive; sent as `activity_timeout`.
pub const ACTIVITY_TIMEOUT_SECONDS: u32 = 120;
/// Seconds that the answer to our ping may take before the socket is closed with 4201.
pub const PONG_TIMEOUT_SECONDS: u32 = 30;
/// Channels that one connection may be subscribed to. Pusher names no limit; this one bounds what a socket can make us hold.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 4_096;
/// Characters of the `version` query parameter that a client announces.
pub const CLIENT_VERSION_CHARS_MAX: usize = 64;

const _: () = assert!(INBOUND_MESSAGE_BYTES_MAX > 2 * EVENT_DATA_BYTES_MAX);
