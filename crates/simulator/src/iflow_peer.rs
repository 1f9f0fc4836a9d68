//! A peer that behaves like the recorded iFlow CLI 0.5.19. The program itself is no longer in the
//! registry.
//!
//! `iflow-peer --experimental-acp --port N` opens the socket. `iflow-peer --acp` exchanges the same
//! messages over its standard streams, for the generic adapter. The peer stores its sessions in
//! HOME like the real program, uses an `OpenAI`-compatible provider, and reads files with a tool.
//! It compacts by command and by itself, with two recorded properties: the turn that announces an
//! automatic compaction still uses the old conversation and is missing afterwards, and the last ten
//! messages stay word for word.

mod engine;

use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use engine::{Engine, VERSION};

/// Runs the program until its client disconnects.
///
/// # Errors
///
/// Fails if the arguments are invalid or the port is not available.
pub async fn run(args: &[String]) -> anyhow::Result<()> {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if has("--version") {
        return print(VERSION).await;
    }
    let sealed = has("--no-tools");
    if has("--acp") {
        return serve_standard_streams(sealed).await;
    }
    if has("-p") {
        return answer_once(args).await;
    }
    let port = args
        .iter()
        .position(|arg| arg == "--port")
        .and_then(|at| args.get(at + 1))
        .context("missing option: --port N, --acp or --version")?;
    let port: u16 = port
        .parse()
        .context("invalid option --port: it must be a number")?;
    serve_socket(port).await
}

async fn print(line: &str) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}

/// Answers one question: prints the answer among lines of the program, and writes a report to a
/// file.
async fn answer_once(args: &[String]) -> anyhow::Result<()> {
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)
    };
    let prompt = value("-p").context("option -p needs a prompt")?;
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let mut engine = Engine::new(sender, true);
    engine.authenticate_from_environment();
    let report = engine.answer_once(prompt).await?;
    drop(engine);
    print("Data collection is disabled.").await?;
    while let Some(message) = receiver.recv().await {
        if let Some(text) = message["params"]["update"]["content"]["text"].as_str() {
            print(text).await?;
        }
    }
    if let Some(file) = value("-o") {
        std::fs::write(file, report.to_string()).context("writing the report")?;
    }
    Ok(())
}

async fn serve_standard_streams(sealed: bool) -> anyhow::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let writing = tokio::spawn(async move {
        while let Some(message) = receiver.recv().await {
            print(&message.to_string()).await?;
        }
        anyhow::Ok(())
    });
    let mut engine = Engine::new(sender, sealed);
    // Clients of the standard streams pass the key in the environment.
    engine.authenticate_from_environment();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(message) = serde_json::from_str(&line) {
            engine.handle(&message).await;
        }
    }
    drop(engine);
    writing.await?
}

async fn serve_socket(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (stream, _) = listener.accept().await?;
    let socket = tokio_tungstenite::accept_async(stream).await?;
    let (mut out, mut incoming) = socket.split();
    out.send(Message::text("//ready")).await?;
    let started = "//stderr [WS 1] Embedded iFlow ACP peer started";
    out.send(Message::text(started)).await?;
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let writing = tokio::spawn(async move {
        while let Some(message) = receiver.recv().await {
            if out.send(Message::text(message.to_string())).await.is_err() {
                break;
            }
        }
    });
    let mut engine = Engine::new(sender, false);
    while let Some(Ok(message)) = incoming.next().await {
        if let Message::Text(text) = message
            && let Ok(message) = serde_json::from_str(&text)
        {
            engine.handle(&message).await;
        }
    }
    drop(engine);
    // Remaining messages have no reader.
    let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
    Ok(())
}
