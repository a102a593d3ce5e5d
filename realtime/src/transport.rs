//! The ways in which a client's frames can travel.

/// How a client is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    WebSocket,
    XhrStreaming,
    XhrPolling,
    /// SockJS, over whichever of its own transports.
    SockJs,
}

impl Transport {
    /// As people see it in the debug console; nothing for the usual way.
    pub(crate) fn shown(self) -> Option<&'static str> {
        match self {
            Transport::WebSocket => None,
            Transport::XhrStreaming => Some("xhr_streaming"),
            Transport::XhrPolling => Some("xhr_polling"),
            Transport::SockJs => Some("sockjs"),
        }
    }
}
