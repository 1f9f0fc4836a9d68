//! Handles the messages of a client.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The recorded version.
pub(super) const VERSION: &str = "0.5.19";
/// Number of messages that a compaction keeps word for word.
const KEPT_MESSAGES: usize = 10;
/// Maximum number of tool rounds in one turn.
const MAX_ROUNDS: usize = 30;
/// Estimated characters per token.
const CHARS_PER_TOKEN: usize = 4;
/// Prompt for a summary. It is our own text, with the purpose of the real one.
const SUMMARISE: &str = "Write a detailed summary of the conversation so far.";
/// Introduction of a summary.
const CONTINUED: &str = "This session is being continued from a previous conversation that ran out \
                         of context. The conversation is summarized below:";

/// Address of the models.
#[derive(Clone, Debug, Default)]
struct Provider {
    url: String,
    key: String,
    model: String,
}

/// A conversation.
#[derive(Clone, Debug, Default)]
struct Session {
    id: String,
    cwd: PathBuf,
    tools: bool,
    history: Vec<Value>,
    /// Size of the last request, as the provider counted it.
    tokens: u64,
}

/// State of a peer.
pub(super) struct Engine {
    out: mpsc::Sender<Value>,
    client: reqwest::Client,
    provider: Option<Provider>,
    session: Session,
    never_tools: bool,
    /// Over its socket the program prints errors of its provider in place of an answer.
    errors_as_answers: bool,
}

impl Engine {
    #[expect(
        clippy::disallowed_methods,
        reason = "platform is not a dependency: TLS is installed here"
    )]
    pub(super) fn new(out: mpsc::Sender<Value>, never_tools: bool) -> Self {
        // An error means that another thread already installed it.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.unwrap_or_default();
        Self {
            out,
            client,
            provider: None,
            session: Session::default(),
            never_tools,
            errors_as_answers: true,
        }
    }

    pub(super) fn authenticate_from_environment(&mut self) {
        self.errors_as_answers = false;
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        self.provider = Some(Provider {
            url: variable("IFLOW_BASE_URL"),
            key: variable("IFLOW_API_KEY"),
            model: "stub".to_owned(),
        });
    }

    /// Answers one question without a session. Returns the report of the program.
    pub(super) async fn answer_once(&mut self, prompt: &str) -> anyhow::Result<Value> {
        self.session.id = uuid::Uuid::new_v4().to_string();
        self.answer(prompt).await?;
        Ok(json!({
            "session-id": self.session.id,
            "assistantRounds": 1,
            "tokenUsage": {"input": self.session.tokens, "output": 1, "total": self.session.tokens + 1},
        }))
    }

    /// Handles a message and sends the response.
    pub(super) async fn handle(&mut self, message: &Value) {
        let (Some(id), Some(method)) = (message.get("id"), message["method"].as_str()) else {
            return;
        };
        let params = &message["params"];
        let result = match method {
            "initialize" => Ok(initialize_result()),
            "authenticate" => self.authenticate(params),
            "session/new" => self.begin(params).await,
            "session/load" => self.load(params),
            "session/prompt" => self.prompt(params).await,
            _ => Err(anyhow::anyhow!("Method not found: {method}")),
        };
        let answer = match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err(error) => json!({
                "jsonrpc": "2.0", "id": id,
                "error": {"code": -32603, "message": format!("{error:#}")},
            }),
        };
        self.send(answer).await;
    }

    async fn send(&self, message: Value) {
        // Without a client the reading loop ends by itself.
        let _ = self.out.send(message).await;
    }

    async fn update(&self, update: Value) {
        let params = json!({"sessionId": self.session.id, "update": update});
        let message = json!({"jsonrpc": "2.0", "method": "session/update", "params": params});
        self.send(message).await;
    }

    async fn send_text(&self, text: &str) {
        let content = json!({"type": "text", "text": text});
        self.update(json!({"sessionUpdate": "agent_message_chunk", "content": content}))
            .await;
    }

    fn authenticate(&mut self, params: &Value) -> anyhow::Result<Value> {
        let info = &params["methodInfo"];
        let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
        self.provider = Some(Provider {
            url: text("baseUrl"),
            key: text("apiKey"),
            model: text("modelName"),
        });
        Ok(json!({"methodId": params["methodId"]}))
    }

    fn settings(&mut self, params: &Value) {
        let allowed = params["settings"]["allowed_tools"].as_array();
        let reads = allowed.is_none_or(|allowed| allowed.iter().any(|tool| tool == "read_file"));
        self.session.tools = reads && !self.never_tools;
    }

    async fn begin(&mut self, params: &Value) -> anyhow::Result<Value> {
        if self.provider.is_none() {
            bail!("Authentication required");
        }
        self.session = Session {
            id: uuid::Uuid::new_v4().to_string(),
            cwd: PathBuf::from(params["cwd"].as_str().context("cwd is missing")?),
            ..Session::default()
        };
        self.settings(params);
        self.update(json!({"sessionUpdate": "available_commands_update", "availableCommands": []}))
            .await;
        Ok(json!({"sessionId": self.session.id}))
    }

    fn load(&mut self, params: &Value) -> anyhow::Result<Value> {
        if self.provider.is_none() {
            bail!("Authentication required");
        }
        let id = params["sessionId"]
            .as_str()
            .context("sessionId is missing")?;
        let id = uuid::Uuid::parse_str(id).context("sessionId is not a UUID")?;
        self.session = Session {
            id: id.to_string(),
            cwd: PathBuf::from(params["cwd"].as_str().context("cwd is missing")?),
            ..Session::default()
        };
        self.settings(params);
        let text = match std::fs::read_to_string(self.file()?) {
            Ok(text) => text,
            // A session without a turn.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context("reading the session"),
        };
        let history: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        self.session.history = history.context("reading the session")?;
        self.session.tokens = self.estimate();
        Ok(json!({}))
    }

    /// Returns the path of the session file, as in the real program.
    fn file(&self) -> anyhow::Result<PathBuf> {
        let home = std::env::var_os("HOME").context("the variable HOME is missing")?;
        let folder = self.session.cwd.to_string_lossy().replace('/', "-");
        let name = format!("session-{}.jsonl", self.session.id);
        Ok(PathBuf::from(home)
            .join(".iflow/projects")
            .join(folder)
            .join(name))
    }

    fn store(&self) -> anyhow::Result<()> {
        let path = self.file()?;
        std::fs::create_dir_all(path.parent().context("the session file has no folder")?)?;
        let lines: String = self
            .session
            .history
            .iter()
            .map(|message| format!("{message}\n"))
            .collect();
        std::fs::write(path, lines).context("writing the session")
    }

    fn estimate(&self) -> u64 {
        let chars: usize = self
            .session
            .history
            .iter()
            .map(|message| message.to_string().chars().count())
            .sum();
        (chars / CHARS_PER_TOKEN) as u64
    }

    /// Returns the size at which it compacts by itself, from its settings.
    fn threshold(&self) -> Option<u64> {
        let home = std::env::var_os("HOME")?;
        let text =
            std::fs::read_to_string(PathBuf::from(home).join(".iflow/settings.json")).ok()?;
        let settings: Value = serde_json::from_str(&text).ok()?;
        let share = settings["compressionTokenThreshold"].as_f64()?;
        Some((settings["tokensLimit"].as_f64()? * share) as u64)
    }

    async fn prompt(&mut self, params: &Value) -> anyhow::Result<Value> {
        let text: String = params["prompt"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .collect();
        let done = json!({"stopReason": "end_turn"});
        if text.trim() == "/compress" {
            self.send_text("Compressing...").await;
            match self.compress().await {
                Some((before, after, summary)) => {
                    let compression = json!({"type": "compression", "compression": {
                        "isPending": false, "originalTokenCount": before,
                        "newTokenCount": after, "summary": summary,
                    }});
                    self.send_text(&compression.to_string()).await;
                    self.store()?;
                }
                None => self.send_text("Failed to compress chat history.").await,
            }
            return Ok(done);
        }
        // The turn that announces it still uses the old conversation, and is not part of the new
        // one.
        let old = self.session.history.clone();
        let full = self
            .threshold()
            .is_some_and(|threshold| self.session.tokens >= threshold);
        let mut compressed = None;
        if full && let Some((before, after, _)) = self.compress().await {
            let saved = before.saturating_sub(after);
            self.send_text(&format!(
                "\n_Context auto-compressed: {before} → {after} tokens (saved {saved} tokens)_\n"
            ))
            .await;
            compressed = Some(std::mem::replace(&mut self.session.history, old));
        }
        let answered = self.answer(&text).await;
        if let Some(compressed) = compressed {
            self.session.history = compressed;
            self.session.tokens = self.estimate();
        }
        if let Err(error) = answered {
            if !self.errors_as_answers {
                return Err(error);
            }
            self.send_text(&format!("[API Error: {error:#}]")).await;
            return Ok(done);
        }
        self.store()?;
        Ok(done)
    }

    /// Runs one turn: sends requests, calls the tool as often as requested, and sends the answer.
    async fn answer(&mut self, text: &str) -> anyhow::Result<()> {
        let before = self.session.history.len();
        self.session
            .history
            .push(json!({"role": "user", "content": text}));
        for _ in 0..MAX_ROUNDS {
            let response = self
                .request(&self.session.history, self.session.tools)
                .await;
            let message = match response {
                Ok((message, tokens)) => {
                    self.session.tokens = tokens;
                    message
                }
                Err(error) => {
                    self.session.history.truncate(before);
                    return Err(error);
                }
            };
            let calls = message["tool_calls"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if let Some(text) = message["content"].as_str().filter(|text| !text.is_empty()) {
                self.send_text(text).await;
            }
            self.session.history.push(message);
            if calls.is_empty() {
                return Ok(());
            }
            for call in calls {
                let result = self.read_file(&call).await;
                self.session.history.push(json!({
                    "role": "tool", "tool_call_id": call["id"], "content": result,
                }));
            }
        }
        bail!("too many tool rounds")
    }

    /// Calls the reading tool, and reports it in the recorded steps.
    async fn read_file(&self, call: &Value) -> String {
        let (id, name) = (&call["id"], &call["function"]["name"]);
        let args = call["function"]["arguments"].as_str().unwrap_or_default();
        let args: Value = serde_json::from_str(args).unwrap_or_default();
        let path = args["path"].as_str().unwrap_or_default();
        self.update(json!({
            "sessionUpdate": "tool_call", "toolCallId": id, "toolName": name,
            "title": "Read File", "kind": "read", "status": "pending",
        }))
        .await;
        self.update(json!({
            "sessionUpdate": "tool_call_update", "toolCallId": id, "toolName": name,
            "status": "in_progress", "title": path, "args": args, "content": [],
            "locations": [], "kind": "read",
        }))
        .await;
        let (text, status) = match std::fs::read_to_string(self.session.cwd.join(path)) {
            Ok(text) => (text, "completed"),
            Err(error) => (format!("{path}: {error}"), "failed"),
        };
        let content =
            json!({"type": "content", "content": {"type": "text", "text": "Read 1 item."}});
        self.update(json!({
            "sessionUpdate": "tool_call_update", "toolCallId": id, "toolName": name,
            "status": status, "content": [content],
        }))
        .await;
        text
    }

    /// Sends a request to the provider. Returns the message, and the size of request and message.
    async fn request(&self, messages: &[Value], tools: bool) -> anyhow::Result<(Value, u64)> {
        let provider = self.provider.as_ref().context("Authentication required")?;
        let mut all = vec![json!({
            "role": "system",
            "content": format!("A peer for tests. Working directory: {}\n", self.session.cwd.display()),
        })];
        all.extend(messages.iter().cloned());
        let mut body = json!({"model": provider.model, "messages": all, "stream": false});
        if tools {
            body["tools"] = json!([{"type": "function", "function": {
                "name": "read_file",
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
            }}]);
        }
        let answer = self
            .client
            .post(format!("{}/chat/completions", provider.url))
            .bearer_auth(&provider.key)
            .json(&body)
            .send()
            .await
            .context("Connection error")?;
        let status = answer.status().as_u16();
        let text = answer.text().await.context("Connection error")?;
        let answer: Value = serde_json::from_str(&text)
            .with_context(|| format!("{status} the answer is not valid JSON"))?;
        if status != 200 {
            let message = answer["error"]["message"]
                .as_str()
                .unwrap_or("no reason is given");
            bail!("{status} {message}");
        }
        let message = answer["choices"][0]["message"].clone();
        let tokens = answer["usage"]["total_tokens"].as_u64().unwrap_or_default();
        Ok((message, tokens))
    }

    /// Replaces all but the last messages by a summary. Returns `None` if there is no summary or it
    /// does not reduce the size.
    async fn compress(&mut self) -> Option<(u64, u64, String)> {
        let mut messages = self.session.history.clone();
        messages.push(json!({"role": "user", "content": SUMMARISE}));
        let (message, _) = self.request(&messages, false).await.ok()?;
        let summary = message["content"]
            .as_str()
            .filter(|text| !text.trim().is_empty())?;
        let summary = format!("\n{CONTINUED}\n{summary}");
        let before = self.estimate();
        let mut first_kept = self.session.history.len().saturating_sub(KEPT_MESSAGES);
        // A tool result without its call is not a valid message.
        while self
            .session
            .history
            .get(first_kept)
            .is_some_and(|message| message["role"] == "tool")
        {
            first_kept += 1;
        }
        let mut history = vec![json!({"role": "user", "content": summary})];
        history.extend(self.session.history[first_kept..].iter().cloned());
        let old = std::mem::replace(&mut self.session.history, history);
        let after = self.estimate();
        if after >= before {
            self.session.history = old;
            return None;
        }
        self.session.tokens = after;
        Some((before, after, summary))
    }
}

/// Returns the recorded result of `initialize`.
fn initialize_result() -> Value {
    json!({
        "isAuthenticated": true,
        "protocolVersion": 1,
        "authMethods": [
            {"id": "oauth-iflow", "name": "Log in with IFLOW", "description": null},
            {"id": "iflow", "name": "Use iFlow API key",
             "description": "Requires setting the `IFLOW_API_KEY` environment variable"},
            {"id": "openai-compatible", "name": "OpenAI Compatible API",
             "description": "OpenAI Compatible API"},
        ],
        "agentCapabilities": {
            "loadSession": true,
            "promptCapabilities": {"image": true, "audio": false, "embeddedContext": true},
        },
        "agentInfo": {"name": "iflow-agent", "title": "iFlow Agent", "version": VERSION},
    })
}
