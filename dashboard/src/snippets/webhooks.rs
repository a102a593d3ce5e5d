//! How a customer's server tells that a webhook is ours: key and signature, in each language.

use tenancy::app::AppKey;

/// Code for one language.
#[derive(Clone, Debug)]
pub struct Check {
    /// As in [`super::Snippet::id`], so that the choice of a language holds on both pages.
    pub id: &'static str,
    /// The tab's words.
    pub title: &'static str,
    /// As in [`super::Snippet::language`].
    pub language: &'static str,
    /// The code.
    pub code: String,
    /// The trap.
    pub note: &'static str,
}

/// Checks with the pair that signs webhooks: the oldest one.
pub fn checks(app_id: u64, pair: &AppKey) -> Vec<Check> {
    let (key, secret) = (&pair.key, pair.secret.expose());
    vec![
        Check {
            id: "laravel",
            title: "Laravel",
            language: "php",
            code: format!(
                "use Illuminate\\Http\\Request;\nuse Illuminate\\Support\\Facades\\Route;\n\n\
                 // routes/api.php\n\
                 Route::post('/webhooks/pusher', function (Request $request) {{\n\
                 \x20   $signature = hash_hmac('sha256', $request->getContent(), '{secret}');\n\
                 \x20   abort_unless($request->header('X-Pusher-Key') === '{key}', 401);\n\
                 \x20   abort_unless(hash_equals($signature, (string) $request->header('X-Pusher-Signature')), 401);\n\n\
                 \x20   foreach ($request->json('events') as $event) {{\n\
                 \x20       logger()->info($event['name'], $event);\n\
                 \x20   }}\n\n\
                 \x20   return response()->noContent();\n}});"
            ),
            note: "In routes/web.php, take the address out of the CSRF check, or every webhook is answered 419.",
        },
        Check {
            id: "php",
            title: "PHP",
            language: "php",
            code: format!(
                "$pusher = new Pusher\\Pusher('{key}', '{secret}', '{app_id}');\n\n\
                 try {{\n\
                 \x20   $webhook = $pusher->webhook([\n\
                 \x20       'X-Pusher-Key' => $_SERVER['HTTP_X_PUSHER_KEY'] ?? '',\n\
                 \x20       'X-Pusher-Signature' => $_SERVER['HTTP_X_PUSHER_SIGNATURE'] ?? '',\n\
                 \x20   ], file_get_contents('php://input'));\n\
                 }} catch (Pusher\\PusherException) {{\n\
                 \x20   http_response_code(401);\n\
                 \x20   exit;\n\
                 }}\n\n\
                 foreach ($webhook->get_events() as $event) {{\n\
                 \x20   error_log($event->name . ' ' . $event->channel);\n\
                 }}"
            ),
            note: "Read the body once and as it came: decoding it and encoding it again changes its signature.",
        },
        Check {
            id: "node",
            title: "Node",
            language: "js",
            code: format!(
                "import express from 'express';\nimport Pusher from 'pusher';\n\n\
                 const pusher = new Pusher({{ appId: '{app_id}', key: '{key}', secret: '{secret}', cluster: 'local' }});\n\
                 const app = express();\n\n\
                 app.post('/webhooks/pusher', express.text({{ type: 'application/json' }}), (request, response) => {{\n\
                 \x20 const webhook = pusher.webhook({{ headers: request.headers, rawBody: request.body }});\n\
                 \x20 if (!webhook.isValid()) return response.sendStatus(401);\n\
                 \x20 for (const event of webhook.getEvents()) console.log(event.name, event.channel);\n\
                 \x20 response.sendStatus(204);\n}});"
            ),
            note: "express.json() in front of this route would eat the raw body, and no signature would match.",
        },
        Check {
            id: "python",
            title: "Python",
            language: "python",
            code: format!(
                "import pusher\nfrom flask import Flask, abort, request\n\n\
                 client = pusher.Pusher(app_id=\"{app_id}\", key=\"{key}\", secret=\"{secret}\")\n\
                 app = Flask(__name__)\n\n\
                 @app.post(\"/webhooks/pusher\")\n\
                 def webhook():\n\
                 \x20   body = client.validate_webhook(\n\
                 \x20       request.headers.get(\"X-Pusher-Key\", \"\"),\n\
                 \x20       request.headers.get(\"X-Pusher-Signature\", \"\"),\n\
                 \x20       request.get_data(as_text=True),\n\
                 \x20   )\n\
                 \x20   if body is None:\n\
                 \x20       abort(401)\n\
                 \x20   for event in body[\"events\"]:\n\
                 \x20       print(event[\"name\"], event[\"channel\"])\n\
                 \x20   return \"\", 204"
            ),
            note: "The library also refuses what is older than 5 minutes: keep your server's clock right.",
        },
        Check {
            id: "ruby",
            title: "Ruby",
            language: "ruby",
            code: format!(
                "pusher = Pusher::Client.new(app_id: \"{app_id}\", key: \"{key}\", secret: \"{secret}\")\n\n\
                 # In a Rails controller with skip_forgery_protection\n\
                 def create\n\
                 \x20 webhook = pusher.webhook(request)\n\
                 \x20 return head(:unauthorized) unless webhook.valid?\n\n\
                 \x20 webhook.events.each {{ |event| logger.info(\"#{{event[\"name\"]}} #{{event[\"channel\"]}}\") }}\n\
                 \x20 head :no_content\n\
                 end"
            ),
            note: "Without skip_forgery_protection, Rails answers 422 before your code is reached.",
        },
        Check {
            id: "go",
            title: "Go",
            language: "go",
            code: format!(
                "client := pusher.Client{{AppID: \"{app_id}\", Key: \"{key}\", Secret: \"{secret}\"}}\n\n\
                 http.HandleFunc(\"POST /webhooks/pusher\", func(w http.ResponseWriter, r *http.Request) {{\n\
                 \tbody, _ := io.ReadAll(r.Body)\n\
                 \twebhook, err := client.Webhook(r.Header, body)\n\
                 \tif err != nil {{\n\
                 \t\tw.WriteHeader(http.StatusUnauthorized)\n\
                 \t\treturn\n\
                 \t}}\n\
                 \tfor _, event := range webhook.Events {{\n\
                 \t\tlog.Println(event.Name, event.Channel)\n\
                 \t}}\n\
                 \tw.WriteHeader(http.StatusNoContent)\n}})"
            ),
            note: "Answer within 4 seconds; do slow work after the answer.",
        },
    ]
}
