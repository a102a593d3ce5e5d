//! JSON over HTTP for customers' programs. Two parts that don't import each other, told apart by who signs and what they
//! touch: [`channels`] (Pusher's HTTP API, signed with an app's secret; data plane only) and [`live`] (what happens on the
//! data plane, for a signed-in person; the one module that sees both planes).

pub mod channels;
pub mod live;
