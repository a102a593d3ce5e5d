//! JSON over HTTP for customers' programs, in parts told apart by who asks and what they touch: [`channels`] (Pusher's HTTP API,
//! signed with an app's secret; data plane only), [`manage`] (the management API and Pusher's own CLI, with a token) and [`live`]
//! (what happens on the data plane, for a signed-in person). The last two see both planes.

pub mod channels;
pub mod live;
pub mod manage;
pub mod node;
