//! What each close code, in-band code and HTTP status means, what client libraries do about it, and how to fix it: the one
//! table behind `/e/` and `/e/{code}`. Kept in step with `protocol::close` by a test.
//!
//! Sentences may mark code by backticks. Snippets may name `{host}`, `{port}` and `{tls}`, which become this server's.

/// Where a code is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the close frame of a WebSocket.
    Close,
    /// In a `pusher:error` event on a connection that stays open.
    InBand,
    /// As the status of an HTTP request.
    Http,
}

impl Place {
    /// All, in the order of the list.
    pub(crate) const ALL: [Place; 3] = [Place::Close, Place::InBand, Place::Http];

    /// The heading of its part of the list.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Place::Close => "When a connection is closed",
            Place::InBand => "While a connection stays open",
            Place::Http => "As the answer to an HTTP request",
        }
    }

    /// What one is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Place::Close => "Close code",
            Place::InBand => "Error event",
            Place::Http => "HTTP status",
        }
    }
}

/// A piece of code.
pub(crate) struct Example {
    /// What it's for.
    pub(crate) title: &'static str,
    /// `js`, `shell`, `env`.
    pub(crate) language: &'static str,
    /// The code, with the names of the module's head.
    pub(crate) code: &'static str,
}

/// A code.
pub(crate) struct Entry {
    /// As in addresses: `4001`, `401`, `null`.
    pub(crate) code: &'static str,
    /// Where it's met.
    pub(crate) place: Place,
    /// In a few words.
    pub(crate) title: &'static str,
    /// What it means, in one or two sentences.
    pub(crate) meaning: &'static str,
    /// What the official client libraries, or server libraries, do next.
    pub(crate) next: &'static str,
    /// What to look at, the likeliest first.
    pub(crate) fixes: &'static [&'static str],
    /// Where it helps.
    pub(crate) example: Option<Example>,
}

/// The entry of a code.
pub(crate) fn find(code: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.code == code)
}

const STAYS_AWAY: &str = "The client stops: its state becomes `disconnected`, and it never tries again by itself. A page comes back when it is loaded again, an app when it calls `connect()`.";
const COMES_BACK: &str = "pusher-js comes back after one second; the other clients after a pause that grows. Subscriptions are made again by themselves.";
const AT_ONCE: &str = "Clients come back at once and make their subscriptions again by themselves.";
const FINAL: &str =
    "The server library raises an error with this status and the text of the answer. It does not try again.";
const GOES_ON: &str =
    "The client raises `error` on its connection and goes on. Nothing is tried again by itself.";

/// All codes, each part in rising order.
pub(crate) static ENTRIES: &[Entry] = &[
    Entry {
        code: "1006",
        place: Place::Close,
        title: "The connection was lost",
        meaning: "No close frame came: the network, a proxy or the client itself ended the connection without a word. Nobody sends this code; it is how both sides note that there was none.",
        next: COMES_BACK,
        fixes: &[
            "Seen now and then, it is a phone in a tunnel. Nothing is to be done.",
            "Seen every 60 seconds, it is a proxy that ends silent connections: let it wait longer than 150 seconds, as with `proxy_read_timeout` in nginx.",
            "Seen on every connection, the proxy does not pass the upgrade on: see below.",
        ],
        example: Some(Example {
            title: "nginx",
            language: "nginx",
            code: "location / {\n    proxy_pass http://127.0.0.1:6001;\n    proxy_http_version 1.1;\n    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection \"upgrade\";\n    proxy_set_header Host $host;\n    proxy_set_header X-Forwarded-Proto $scheme;\n    proxy_read_timeout 300s;\n}",
        }),
    },
    Entry {
        code: "1008",
        place: Place::Close,
        title: "Too many unreadable frames",
        meaning: "The client sent more than ten frames within ten seconds that are no JSON objects with an `event`.",
        next: COMES_BACK,
        fixes: &[
            "Official clients never do this. Look at what your own client, or a proxy in between, puts into the frames: one JSON object each, as text.",
        ],
        example: Some(Example {
            title: "A frame as it should be",
            language: "json",
            code: "{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"orders\"}}",
        }),
    },
    Entry {
        code: "1009",
        place: Place::Close,
        title: "A frame was too large",
        meaning: "One frame of the client had more than 32 KiB.",
        next: COMES_BACK,
        fixes: &[
            "Client events carry at most 10 KB of data. Send a reference, such as an id or a URL, and let the receiver fetch the rest.",
            "The user data of a presence channel may have 1 KB.",
        ],
        example: None,
    },
    Entry {
        code: "1011",
        place: Place::Close,
        title: "An error of the server",
        meaning: "The server met an error of its own while it served this connection. The cause is in the server's log.",
        next: COMES_BACK,
        fixes: &["Tell whoever runs this server, with the time at which it happened."],
        example: None,
    },
    Entry {
        code: "4000",
        place: Place::Close,
        title: "The app takes encrypted connections only",
        meaning: "The app has Force TLS switched on, and this connection came without TLS.",
        next: "pusher-js tries again over TLS at once. Java and Swift clients stop.",
        fixes: &[
            "Set `forceTLS: true`, or `useTLS` in mobile clients, and the port of the encrypted address.",
            "If the client did use TLS, a proxy in front ended it and the server was not told: set `FANFARE_TRUST_PROXY=true` and let the proxy send `X-Forwarded-Proto`.",
            "Where there is no TLS at all, switch Force TLS off in the app's settings.",
        ],
        example: Some(Example {
            title: "pusher-js",
            language: "js",
            code: "new Pusher('APP_KEY', {\n  cluster: 'local',\n  wsHost: '{host}',\n  wssPort: 443,\n  forceTLS: true,\n  enabledTransports: ['ws', 'wss'],\n});",
        }),
    },
    Entry {
        code: "4001",
        place: Place::Close,
        title: "No app has this key",
        meaning: "The key in the address belongs to no app on this server: it is mistyped, deleted, of another server, or it is an app ID.",
        next: STAYS_AWAY,
        fixes: &[
            "Compare the key with the app's page App keys. The key has 20 characters; the app ID is the short number.",
            "If the key is right for pusher.com or another server, the client goes to the wrong one: check `wsHost` and the port.",
            "In Laravel with Vite, keys are built into the bundle: run the build again after changing `.env`.",
        ],
        example: Some(Example {
            title: "pusher-js",
            language: "js",
            code: "new Pusher('APP_KEY', {\n  cluster: 'local',\n  wsHost: '{host}',\n  wsPort: {port},\n  wssPort: {port},\n  forceTLS: {tls},\n  enabledTransports: ['ws', 'wss'],\n});",
        }),
    },
    Entry {
        code: "4003",
        place: Place::Close,
        title: "The app is disabled",
        meaning: "Somebody switched the app off in its settings. Nobody can connect and nothing is published until it is on again.",
        next: STAYS_AWAY,
        fixes: &["Enable the app at the end of its settings. Clients that were sent away need a reload."],
        example: None,
    },
    Entry {
        code: "4004",
        place: Place::Close,
        title: "All connections are in use",
        meaning: "The account, or the app by its own limit, has as many open connections as its plan allows.",
        next: STAYS_AWAY,
        fixes: &[
            "See on the app's overview how many connections are open, and raise the plan or the app's limit.",
            "One page should open one connection: make one `Pusher` object and share it, instead of one for each component.",
            "Disconnect when a person signs out: `pusher.disconnect()`.",
            "Clients with this code stay away even when a place is free again. Switch on “Over the connection limit” in the app's settings, and they are told 4100 instead and come back by themselves.",
        ],
        example: None,
    },
    Entry {
        code: "4005",
        place: Place::Close,
        title: "Nothing is at this path",
        meaning: "The WebSocket asked for a path other than `/app/KEY`.",
        next: STAYS_AWAY,
        fixes: &[
            "Check the proxy: it must pass the path on unchanged.",
            "`wsPath` in pusher-js is put in front of `/app`. Leave it empty, unless a proxy takes it away again.",
        ],
        example: Some(Example {
            title: "A connection by hand",
            language: "shell",
            code: "wscat -c 'ws://{host}:{port}/app/APP_KEY?protocol=7'",
        }),
    },
    Entry {
        code: "4006",
        place: Place::Close,
        title: "The version is unreadable",
        meaning: "The parameter `version` has more than 64 characters, or characters that no version has.",
        next: STAYS_AWAY,
        fixes: &[
            "Official clients send it right. In a client of your own, send something like `version=1.0`, or leave it out.",
        ],
        example: None,
    },
    Entry {
        code: "4007",
        place: Place::Close,
        title: "The protocol is not supported",
        meaning: "The parameter `protocol` is not 5, 6 or 7.",
        next: STAYS_AWAY,
        fixes: &["Update the client library. All releases of the last ten years speak one of these three."],
        example: None,
    },
    Entry {
        code: "4008",
        place: Place::Close,
        title: "The protocol is missing",
        meaning: "The address has no parameter `protocol`.",
        next: STAYS_AWAY,
        fixes: &[
            "In a client of your own, connect with `?protocol=7`.",
            "If an official client is refused, a proxy drops the query: in nginx, `proxy_pass` with a path needs `$is_args$args` at its end.",
        ],
        example: Some(Example {
            title: "A connection by hand",
            language: "shell",
            code: "wscat -c 'ws://{host}:{port}/app/APP_KEY?protocol=7'",
        }),
    },
    Entry {
        code: "4009",
        place: Place::Close,
        title: "The connection is not allowed",
        meaning: "One of three: the page's origin is not on the app's list, the app wants authorized connections and this one did neither sign in nor join a private or presence channel in time, or your server ended the user's connections.",
        next: STAYS_AWAY,
        fixes: &[
            "Allowed origins: add the page's scheme and host in the app's settings. The debug console shows which origin was refused.",
            "Authorized connections: sign in with `pusher.signin()`, or subscribe to a private or presence channel, within 30 seconds.",
            "Ended by your server: that is what `terminate_connections` is for. Let the person sign in again.",
        ],
        example: Some(Example {
            title: "Signing in, pusher-js",
            language: "js",
            code: "const pusher = new Pusher('APP_KEY', {\n  cluster: 'local',\n  wsHost: '{host}',\n  wsPort: {port},\n  userAuthentication: { endpoint: '/pusher/user-auth' },\n});\npusher.signin();",
        }),
    },
    Entry {
        code: "4100",
        place: Place::Close,
        title: "The server is full or about to restart",
        meaning: "The server takes no newcomers at the moment, all connections are in use and the app lets clients try again then, or this client reads so slowly that more than 1 MiB waited for it.",
        next: COMES_BACK,
        fixes: &[
            "During a restart it passes within seconds.",
            "With all connections in use, the client gets in when another leaves. Raise the plan or the app's limit, or share one connection in each page.",
            "For a slow reader, send less: fewer channels for each client, and smaller events.",
        ],
        example: None,
    },
    Entry {
        code: "4200",
        place: Place::Close,
        title: "Please reconnect",
        meaning: "The server restarts or moves, and asks its clients to connect anew. Nothing is wrong.",
        next: AT_ONCE,
        fixes: &[
            "Nothing is to be done. What was published in between is not delivered later: fetch the state after `connected`, or use cache channels.",
        ],
        example: Some(Example {
            title: "Catching up, pusher-js",
            language: "js",
            code: "pusher.connection.bind('connected', () => loadWhatWasMissed());",
        }),
    },
    Entry {
        code: "4201",
        place: Place::Close,
        title: "No answer to a ping",
        meaning: "Nothing was heard of the client for 120 seconds, and it did not answer a ping within 30 more.",
        next: AT_ONCE,
        fixes: &[
            "Usually a laptop was closed or a network went away. Nothing is to be done.",
            "A client of your own must answer WebSocket pings; most WebSocket libraries do it by themselves.",
        ],
        example: None,
    },
    Entry {
        code: "4202",
        place: Place::Close,
        title: "Silent for a day",
        meaning: "Pusher closes clients that cannot answer pings after 24 silent hours. This server never sends it: it asks with a ping and closes with 4201.",
        next: AT_ONCE,
        fixes: &["If you see it, the client is connected to another server than you think: check `wsHost`."],
        example: None,
    },
    Entry {
        code: "4301",
        place: Place::InBand,
        title: "Too many client events",
        meaning: "The connection sent more than ten client events within a second. Those beyond were not delivered; the connection stays.",
        next: GOES_ON,
        fixes: &[
            "Send less often: collect what changes, such as a pointer's position, and send it every 100 ms or slower.",
            "What has to arrive belongs on your server, which publishes it through the HTTP API.",
        ],
        example: Some(Example {
            title: "Five a second at most",
            language: "js",
            code: "let last = 0;\nfunction moved(position) {\n  if (Date.now() - last < 200) return;\n  last = Date.now();\n  channel.trigger('client-moved', position);\n}",
        }),
    },
    Entry {
        code: "4302",
        place: Place::InBand,
        title: "The watchlist is too long",
        meaning: "The user signed in with more than 100 users on the watchlist. The first 100 are watched; the message names them. The user is signed in.",
        next: GOES_ON,
        fixes: &[
            "Put at most 100 ids into `watchlist`, those first that matter most. For larger groups, use a presence channel.",
        ],
        example: None,
    },
    Entry {
        code: "null",
        place: Place::InBand,
        title: "An error about one message",
        meaning: "Most errors about a single message carry no code, only a sentence: a wrong channel signature, a bad channel name, client events that are switched off, an event that does not exist. The connection stays.",
        next: "The client raises `error` on its connection and goes on. A subscription that was refused is told on its channel too, as `pusher:subscription_error`; it is not tried again by itself.",
        fixes: &[
            "The sentence in `message` names the channel and what was expected. The debug console shows the same under Denied and Client error, with the likeliest cause.",
            "A wrong signature: the endpoint that signs channels has another secret than the app, or signs another text.",
            "Client events: switch them on in the app's settings, name them `client-…`, and send them on a private or presence channel after it is subscribed.",
        ],
        example: Some(Example {
            title: "Seeing it, pusher-js",
            language: "js",
            code: "pusher.connection.bind('error', (error) => console.log(error));\nchannel.bind('pusher:subscription_error', (error) => console.log(error));",
        }),
    },
    Entry {
        code: "400",
        place: Place::Http,
        title: "The request makes no sense",
        meaning: "The request is signed right, but something in it cannot be: a missing field, a bad channel or event name, more than 100 channels, more than 10 events in a batch. Or the app takes encrypted requests only, and this one came without TLS. The answer says which.",
        next: FINAL,
        fixes: &[
            "Read the text of the answer. It is in the debug console too, under API error.",
            "TLS required: send to `https://`, or switch Force TLS off in the app's settings. Behind a proxy that ends TLS, set `FANFARE_TRUST_PROXY=true`.",
            "Channel names have up to 200 letters, digits and `_-=@,.;`; no spaces, slashes or colons.",
            "Event names have up to 200 characters and do not begin with `pusher`.",
        ],
        example: None,
    },
    Entry {
        code: "401",
        place: Place::Http,
        title: "The request is not signed right",
        meaning: "Key, signature, time or body do not fit together. The answer shows the text that should have been signed.",
        next: FINAL,
        fixes: &[
            "Compare key and secret with the app's page App keys: a copied blank or a cached `.env` is the usual cause. In Laravel: `php artisan config:clear`.",
            "Requests may be 600 seconds off: set your server's clock.",
            "A proxy must change neither path, query nor body on the way.",
            "The debug console tries the usual mistakes and names the one that fits.",
        ],
        example: Some(Example {
            title: "Laravel",
            language: "shell",
            code: "php artisan config:clear\nphp artisan queue:restart",
        }),
    },
    Entry {
        code: "403",
        place: Place::Http,
        title: "Not allowed now",
        meaning: "The request is right, but the app may not do it: it is disabled, or all messages of the day are used.",
        next: FINAL,
        fixes: &[
            "Disabled: enable the app at the end of its settings.",
            "Over quota: publishing goes on at 00:00 UTC, or with a larger plan. Connections stay.",
        ],
        example: None,
    },
    Entry {
        code: "404",
        place: Place::Http,
        title: "Nothing is there",
        meaning: "No app has this id, or the path is none of the HTTP API.",
        next: FINAL,
        fixes: &[
            "The path has the app ID, the short number, and not the key: `/apps/1001/events`.",
            "Check that host and port are this server's, and that no path is put in front.",
        ],
        example: Some(Example {
            title: ".env of Laravel",
            language: "env",
            code: "REVERB_APP_ID=1001\nREVERB_HOST=\"{host}\"\nREVERB_PORT={port}",
        }),
    },
    Entry {
        code: "413",
        place: Place::Http,
        title: "Too much data",
        meaning: "The data of one event has more than 10,240 bytes, or the request as a whole is too large.",
        next: FINAL,
        fixes: &[
            "Send a reference, such as an id, and let clients fetch the rest from your server.",
            "In Laravel, `broadcastWith()` decides what of a model is sent.",
        ],
        example: Some(Example {
            title: "Laravel",
            language: "php",
            code: "public function broadcastWith(): array\n{\n    return ['id' => $this->order->id];\n}",
        }),
    },
    Entry {
        code: "429",
        place: Place::Http,
        title: "Too many calls in a second",
        meaning: "The app published more events, or asked more often, than its plan allows in one second. The answer says the rate and the limit. Nothing of the call was done; of a batch no event was published.",
        next: "The server library raises an error. The answer carries `Retry-After: 1`; queued jobs, such as Laravel's broadcasts, are tried again by their queue.",
        fixes: &[
            "Look for a loop that publishes. The debug console shows who calls, under API error.",
            "An event for several channels counts once if one call names them all, up to 100. Each event of a batch counts.",
            "Spread bursts over time, or take a larger plan.",
        ],
        example: None,
    },
    Entry {
        code: "503",
        place: Place::Http,
        title: "Overloaded or away",
        meaning: "The server cannot take the request now: too much waits already, or it cannot reach its database. Nothing was published.",
        next: "The server library raises an error. The answer carries `Retry-After`; queued jobs, such as Laravel's broadcasts, are tried again by their queue.",
        fixes: &[
            "Try again after the time in `Retry-After`.",
            "Publish to several channels, and several events, in one request: up to 100 channels, or a batch of 10 events.",
        ],
        example: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::close::{CLIENT_EVENT_RATE, CloseCode, WATCHLIST_TOO_LONG};

    #[test]
    fn every_code_of_the_protocol_has_an_entry_and_each_entry_one_place() {
        let closes = [
            CloseCode::TlsOnly,
            CloseCode::UnknownApp,
            CloseCode::AppDisabled,
            CloseCode::OverConnectionQuota,
            CloseCode::PathNotFound,
            CloseCode::BadVersion,
            CloseCode::UnsupportedProtocol,
            CloseCode::NoProtocol,
            CloseCode::Unauthorized,
            CloseCode::OverCapacity,
            CloseCode::Reconnect,
            CloseCode::NoPong,
        ];
        for code in closes.map(CloseCode::code) {
            assert_eq!(find(&code.to_string()).map(|entry| entry.place), Some(Place::Close), "{code}");
        }
        for code in [CLIENT_EVENT_RATE, WATCHLIST_TOO_LONG] {
            assert_eq!(find(&code.to_string()).map(|entry| entry.place), Some(Place::InBand), "{code}");
        }
        let mut codes: Vec<_> = ENTRIES.iter().map(|entry| entry.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ENTRIES.len());
    }

    #[test]
    fn the_console_links_to_the_codes_that_have_a_page() {
        let script = include_str!("../assets/console/codes.js");
        let list = script.split_once("new Set([").and_then(|(_, rest)| rest.split_once("])")).unwrap().0;
        let mut linked: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
        let mut explained: Vec<&str> =
            ENTRIES.iter().map(|entry| entry.code).filter(|code| *code != "null").collect();
        linked.sort_unstable();
        explained.sort_unstable();
        assert_eq!(linked, explained);
    }

    #[test]
    fn every_entry_says_what_to_do_and_marks_its_code_in_pairs() {
        for entry in ENTRIES {
            assert!(!entry.fixes.is_empty(), "{}", entry.code);
            let sentences = [entry.meaning, entry.next].into_iter().chain(entry.fixes.iter().copied());
            for sentence in sentences {
                assert!(
                    sentence.ends_with('.') || sentence.ends_with('`') || sentence.ends_with("below."),
                    "{sentence}"
                );
                assert_eq!(sentence.matches('`').count() % 2, 0, "{sentence}");
            }
        }
    }
}
