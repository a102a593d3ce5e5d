//! The client library for browsers and the server libraries, one function each.

use super::{Block, Snippet, Values};

/// The cluster stands in client settings because pusher-js refuses to start without one.
pub(super) fn pusher_js(v: &Values<'_>) -> Snippet {
    let Values { app, key, endpoint, .. } = v;
    let (host, port, cluster, tls) = (&endpoint.host, endpoint.port, &app.cluster, endpoint.tls);
    Snippet {
        id: "pusher-js",
        title: "pusher-js",
        language: "js",
        intro: "For browsers, and for anything else that runs pusher-js. Only the key is in it; the secret stays on servers.".to_owned(),
        install: Some("npm install pusher-js".to_owned()),
        code: format!(
            "import Pusher from 'pusher-js';\n\n\
             const pusher = new Pusher('{key}', {{\n  cluster: '{cluster}',\n  wsHost: '{host}',\n  wsPort: {port},\n  wssPort: {port},\n  \
             forceTLS: {tls},\n  enabledTransports: ['ws', 'wss'],\n}});"
        ),
        more: vec![Block {
            title: "Subscribe",
            language: "js",
            code: "const channel = pusher.subscribe('hello');\nchannel.bind('greeting', (data) => console.log(data.text));".to_owned(),
        }],
        notes: vec![
            "cluster has to be there although wsHost decides where to connect: pusher-js throws without it.".to_owned(),
            format!("Without a bundler: <script src=\"{}/js/pusher.min.js\"></script> gives the global Pusher.", endpoint.origin()),
        ],
    }
}

pub(super) fn node(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    Snippet {
        id: "node",
        title: "Node",
        language: "js",
        intro: "The server library for Node.".to_owned(),
        install: Some("npm install pusher".to_owned()),
        code: format!(
            "import Pusher from 'pusher';\n\n\
             const pusher = new Pusher({{\n  appId: '{}',\n  key: '{key}',\n  secret: '{secret}',\n  host: '{}',\n  port: '{}',\n  useTLS: {},\n}});",
            app.id, endpoint.host, endpoint.port, endpoint.tls
        ),
        more: vec![Block {
            title: "Publish",
            language: "js",
            code: "await pusher.trigger('hello', 'greeting', { text: 'Hi' });".to_owned(),
        }],
        notes: vec!["Pusher.forURL(process.env.PUSHER_URL) reads the one-line address instead.".to_owned()],
    }
}

pub(super) fn php(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    Snippet {
        id: "php",
        title: "PHP",
        language: "php",
        intro: "The server library for PHP, outside Laravel.".to_owned(),
        install: Some("composer require pusher/pusher-php-server".to_owned()),
        code: format!(
            "$pusher = new Pusher\\Pusher('{key}', '{secret}', '{}', [\n    'host' => '{}',\n    'port' => {},\n    'scheme' => '{}',\n]);",
            app.id,
            endpoint.host,
            endpoint.port,
            endpoint.scheme()
        ),
        more: vec![Block {
            title: "Publish",
            language: "php",
            code: "$pusher->trigger('hello', 'greeting', ['text' => 'Hi']);".to_owned(),
        }],
        notes: vec!["Set scheme and port together: useTLS alone counts only when neither is set.".to_owned()],
    }
}

pub(super) fn python(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    Snippet {
        id: "python",
        title: "Python",
        language: "python",
        intro: "The server library for Python.".to_owned(),
        install: Some("pip install pusher".to_owned()),
        code: format!(
            "import pusher\n\n\
             client = pusher.Pusher(\n    app_id=\"{}\",\n    key=\"{key}\",\n    secret=\"{secret}\",\n    host=\"{}\",\n    port={},\n    ssl={},\n)",
            app.id,
            endpoint.host,
            endpoint.port,
            if endpoint.tls { "True" } else { "False" }
        ),
        more: vec![Block {
            title: "Publish",
            language: "python",
            code: "client.trigger(\"hello\", \"greeting\", {\"text\": \"Hi\"})".to_owned(),
        }],
        notes: vec![
            "app_id is a string of digits, not a number.".to_owned(),
            "pusher.Pusher.from_env() reads PUSHER_URL, but not when it carries a port: the library joins host and port twice.".to_owned(),
        ],
    }
}

pub(super) fn ruby(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    Snippet {
        id: "ruby",
        title: "Ruby",
        language: "ruby",
        intro: "The server library for Ruby and Rails.".to_owned(),
        install: Some("bundle add pusher".to_owned()),
        code: format!(
            "require \"pusher\"\n\n\
             pusher = Pusher::Client.new(\n  app_id: \"{}\",\n  key: \"{key}\",\n  secret: \"{secret}\",\n  host: \"{}\",\n  port: {},\n  scheme: \"{}\"\n)",
            app.id,
            endpoint.host,
            endpoint.port,
            endpoint.scheme()
        ),
        more: vec![Block {
            title: "Publish",
            language: "ruby",
            code: "pusher.trigger(\"hello\", \"greeting\", { text: \"Hi\" })".to_owned(),
        }],
        notes: vec![
            "With PUSHER_URL in the environment, Pusher.trigger works without any of these lines.".to_owned(),
        ],
    }
}

pub(super) fn go(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    Snippet {
        id: "go",
        title: "Go",
        language: "go",
        intro: "The server library for Go.".to_owned(),
        install: Some("go get github.com/pusher/pusher-http-go/v5".to_owned()),
        code: format!(
            "client := pusher.Client{{\n\tAppID:  \"{}\",\n\tKey:    \"{key}\",\n\tSecret: \"{secret}\",\n\tHost:   \"{}\",\n\tSecure: {},\n}}",
            app.id,
            endpoint.authority(),
            endpoint.tls
        ),
        more: vec![Block {
            title: "Publish",
            language: "go",
            code: "err := client.Trigger(\"hello\", \"greeting\", map[string]string{\"text\": \"Hi\"})"
                .to_owned(),
        }],
        notes: vec!["Host takes no http:// in front; a port goes into it, as in host:6001.".to_owned()],
    }
}
