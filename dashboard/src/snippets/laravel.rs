//! Laravel, with the `reverb` driver (recommended: `.env` alone does it) and with the `pusher` driver (for moves).

use super::{Block, Snippet, Values};

/// The `reverb` driver is the Pusher driver under other names; its stub reads host, port and scheme from `.env`.
pub(super) fn reverb(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    let (host, port, scheme) = (&endpoint.host, endpoint.port, endpoint.scheme());
    Snippet {
        id: "laravel",
        title: "Laravel",
        language: "env",
        intro: "Replace the broadcasting lines in .env with these.".to_owned(),
        install: Some(
            "composer require pusher/pusher-php-server\nphp artisan install:broadcasting --reverb --without-reverb".to_owned(),
        ),
        code: format!(
            "BROADCAST_CONNECTION=reverb\n\n\
             REVERB_APP_ID={}\nREVERB_APP_KEY={key}\nREVERB_APP_SECRET={secret}\n\
             REVERB_HOST=\"{host}\"\nREVERB_PORT={port}\nREVERB_SCHEME={scheme}\n\n\
             VITE_REVERB_APP_KEY=\"${{REVERB_APP_KEY}}\"\nVITE_REVERB_HOST=\"${{REVERB_HOST}}\"\n\
             VITE_REVERB_PORT=\"${{REVERB_PORT}}\"\nVITE_REVERB_SCHEME=\"${{REVERB_SCHEME}}\"",
            app.id
        ),
        more: vec![publish(), subscribe()],
        notes: vec![
            "“reverb” is only the name of Laravel's driver here: it speaks the same protocol, and no Reverb server is installed or started.".to_owned(),
            "Restart npm run dev and queue:work afterwards. Vite reads these lines when it starts, a queue worker keeps the old ones.".to_owned(),
            "Nothing arrives? Usually no queue worker runs, or the configuration is cached: php artisan config:clear.".to_owned(),
        ],
    }
}

/// For projects that use the `pusher` driver already.
pub(super) fn pusher(v: &Values<'_>) -> Snippet {
    let Values { app, key, secret, endpoint } = v;
    let (host, port, scheme) = (&endpoint.host, endpoint.port, endpoint.scheme());
    let cluster = &app.cluster;
    Snippet {
        id: "laravel-pusher",
        title: "Laravel (pusher)",
        language: "env",
        intro: "For a project that uses Laravel's pusher driver already: these lines in .env, and the Echo block below.".to_owned(),
        install: None,
        code: format!(
            "BROADCAST_CONNECTION=pusher\n\n\
             PUSHER_APP_ID={}\nPUSHER_APP_KEY={key}\nPUSHER_APP_SECRET={secret}\nPUSHER_APP_CLUSTER={cluster}\n\
             PUSHER_HOST=\"{host}\"\nPUSHER_PORT={port}\nPUSHER_SCHEME={scheme}\n\n\
             VITE_PUSHER_APP_KEY=\"${{PUSHER_APP_KEY}}\"\nVITE_PUSHER_APP_CLUSTER=\"${{PUSHER_APP_CLUSTER}}\"\n\
             VITE_PUSHER_HOST=\"${{PUSHER_HOST}}\"\nVITE_PUSHER_PORT=\"${{PUSHER_PORT}}\"\nVITE_PUSHER_SCHEME=\"${{PUSHER_SCHEME}}\"",
            app.id
        ),
        more: vec![
            Block { title: "resources/js/echo.js", language: "js", code: ECHO.to_owned() },
            publish(),
        ],
        notes: vec![
            "Without wsHost, wsPort and wssPort in Echo the browser goes to pusher.com, whatever .env says.".to_owned(),
            "PUSHER_HOST must not be empty, or Laravel itself sends to pusher.com.".to_owned(),
            "The echo.js that Laravel installs has forceTLS: true; on plain http it never connects, so take the line above.".to_owned(),
            "With broadcastAs(), listen for the name with a leading dot: .listen('.order.shipped').".to_owned(),
        ],
    }
}

const ECHO: &str = "\
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

window.Pusher = Pusher;
window.Echo = new Echo({
    broadcaster: 'pusher',
    key: import.meta.env.VITE_PUSHER_APP_KEY,
    cluster: import.meta.env.VITE_PUSHER_APP_CLUSTER,
    wsHost: import.meta.env.VITE_PUSHER_HOST,
    wsPort: import.meta.env.VITE_PUSHER_PORT,
    wssPort: import.meta.env.VITE_PUSHER_PORT,
    forceTLS: import.meta.env.VITE_PUSHER_SCHEME === 'https',
    enabledTransports: ['ws', 'wss'],
});";

fn publish() -> Block {
    let code = "\
php artisan tinker --execute='Illuminate\\Support\\Facades\\Broadcast::on(\"hello\")->as(\"greeting\")->with([\"text\" => \"Hi\"])->sendNow();'";
    Block { title: "Publish (Laravel 11 and later)", language: "shell", code: code.to_owned() }
}

fn subscribe() -> Block {
    let code = "Echo.channel('hello').listen('.greeting', (event) => console.log(event.text));";
    Block { title: "Subscribe", language: "js", code: code.to_owned() }
}
