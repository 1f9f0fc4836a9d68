//! A peer that speaks like iFlow CLI 0.5.19, as it was recorded: the program itself is not in the
//! registry any more.
//!
//! `iflow-peer --experimental-acp --port N` opens the socket; `iflow-peer --acp` speaks the same
//! messages over its standard streams, for the generic adapter. It keeps its sessions below HOME
//! as the real program does, asks an `OpenAI`-compatible provider, reads files by a tool of its
//! own, and compacts by command and by itself, with the recorded quirks: the turn that announces a
//! compaction by itself still runs on the old conversation and is missing afterwards, and the last
//! ten messages stay word for word.

mod engine;

use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use engine::Engine;

/// The version that was recorded.
const VERSION: &str = "0.5.19";

/// Runs the program until whoever speaks to it goes away.
///
/// # Errors
///
/// The arguments are not understood, or the port cannot be had.
pub async fn run(args: &[String]) -> anyhow::Result<()> {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if has("--version") {
        return print(VERSION).await;
    }
    let sealed = has("--no-tools");
    if has("--acp") {
        return over_standard_streams(sealed).await;
    }
    if has("-p") {
        return plain(args).await;
    }
    let port = args
        .iter()
        .position(|arg| arg == "--port")
        .and_then(|at| args.get(at + 1))
        .context("--port N, --acp or --version is expected")?;
    let port: u16 = port.parse().context("--port takes a number")?;
    over_socket(port).await
}

async fn print(line: &str) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}

/// One question: the answer as text among chatter, and a report in a file.
async fn plain(args: &[String]) -> anyhow::Result<()> {
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)
    };
    let prompt = value("-p").context("-p takes a prompt")?;
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let mut engine = Engine::new(sender, true);
    engine.authenticated_by_environment();
    let asked = engine.once(prompt).await?;
    drop(engine);
    print("Data collection is disabled.").await?;
    while let Some(message) = receiver.recv().await {
        if let Some(text) = message["params"]["update"]["content"]["text"].as_str() {
            print(text).await?;
        }
    }
    if let Some(file) = value("-o") {
        std::fs::write(file, asked.to_string()).context("writing the report")?;
    }
    Ok(())
}

async fn over_standard_streams(sealed: bool) -> anyhow::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Value>(64);
    let writing = tokio::spawn(async move {
        while let Some(message) = receiver.recv().await {
            print(&message.to_string()).await?;
        }
        anyhow::Ok(())
    });
    let mut engine = Engine::new(sender, sealed);
    // Whoever speaks this protocol over standard streams has the key in its environment.
    engine.authenticated_by_environment();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(message) = serde_json::from_str(&line) {
            engine.take(&message).await;
        }
    }
    drop(engine);
    writing.await?
}

async fn over_socket(port: u16) -> anyhow::Result<()> {
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
            engine.take(&message).await;
        }
    }
    drop(engine);
    // What is still to be said is said to nobody.
    let _ = tokio::time::timeout(Duration::from_secs(1), writing).await;
    Ok(())
}
