//! The connection to iFlow: the messages of the Agent Client Protocol over a `WebSocket` that the
//! program opens on a port of ours.

use std::time::Duration;

use async_trait::async_trait;
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use super::super::acp::wire::Wire;
use crate::adapter::{Limits, RawSink, SessionSpec, Stream};
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};
use crate::process::{Launch, Peer};

/// How long the program may take to open its socket; 1.3 s were measured.
const OPENING: Duration = Duration::from_secs(60);
/// Between two attempts to reach it.
const BETWEEN: Duration = Duration::from_millis(100);

/// A running program and the socket to it.
pub(super) struct Socket {
    peer: Peer,
    frames: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Its standard output is still open. Nothing of the protocol comes by it.
    prints: bool,
    /// It is sent, and never kept.
    secret: Option<String>,
    limits: Limits,
    turn_ends: Instant,
    raw: std::sync::Arc<dyn RawSink>,
    events: mpsc::Sender<AgentEvent>,
    cancel: CancellationToken,
}

/// A port that is free now.
pub(super) async fn free_port() -> Result<u16, Failure> {
    let port = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Ok::<u16, std::io::Error>(listener.local_addr()?.port())
    };
    port.await
        .map_err(|error| Failure::harness(format!("there is no free port: {error}")))
}

impl Socket {
    /// Starts the program and reaches its socket.
    pub(super) async fn open(
        launch: &Launch,
        spec: &SessionSpec,
        port: u16,
    ) -> Result<Self, Failure> {
        let mut peer = Peer::start(launch, spec).await?;
        let url = format!("ws://127.0.0.1:{port}/acp?peer=iflow");
        let config = WebSocketConfig::default()
            .max_message_size(Some(spec.limits.line_bytes))
            .max_frame_size(Some(spec.limits.line_bytes));
        let reaching = async {
            loop {
                let reached =
                    tokio_tungstenite::connect_async_with_config(&url, Some(config), true).await;
                if let Ok((frames, _)) = reached {
                    return frames;
                }
                tokio::time::sleep(BETWEEN).await;
            }
        };
        let mut ended = None;
        let reached = tokio::select! {
            reached = tokio::time::timeout(OPENING, reaching) => reached.ok(),
            () = drained(&mut peer) => {
                ended = Some("ended before it opened its socket");
                None
            }
            () = spec.cancel.cancelled() => {
                peer.end().await;
                return Err(Failure::cancelled());
            }
        };
        let Some(frames) = reached else {
            let said = peer.last_words();
            peer.end().await;
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("iFlow {}: {said}", ended.unwrap_or("opened no socket")),
            ));
        };
        Ok(Self {
            peer,
            frames,
            prints: true,
            secret: spec.environment.get("IFLOW_API_KEY").cloned(),
            limits: spec.limits,
            turn_ends: Instant::now() + spec.limits.turn,
            raw: std::sync::Arc::clone(&spec.raw),
            events: spec.events.clone(),
            cancel: spec.cancel.clone(),
        })
    }
}

/// Reads a standard output to its end.
async fn drained(peer: &mut Peer) {
    while peer.printed().await.is_some() {}
}

fn timed_out(what: &str, limit: Duration) -> Failure {
    Failure::new(
        Cause::TimedOut,
        format!("the agent {what} within {} s", limit.as_secs()),
    )
}

#[async_trait]
impl Wire for Socket {
    fn begin_turn(&mut self) {
        self.turn_ends = Instant::now() + self.limits.turn;
    }

    async fn send(&mut self, message: &str) -> Result<(), Failure> {
        let kept = match self.secret.as_deref().filter(|secret| !secret.is_empty()) {
            Some(secret) => message.replace(secret, "[redacted]"),
            None => message.to_owned(),
        };
        self.raw.line(Stream::Stdin, kept.as_bytes());
        let sent = self.frames.send(Message::text(message.to_owned()));
        tokio::select! {
            sent = sent => sent.map_err(|error| {
                Failure::new(Cause::AgentCrashed, format!("iFlow does not listen: {error}"))
            }),
            () = self.cancel.cancelled() => Err(Failure::cancelled()),
            () = tokio::time::sleep_until(self.turn_ends) => {
                Err(timed_out("did not end its turn", self.limits.turn))
            }
        }
    }

    async fn receive(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let stall_ends = Instant::now() + self.limits.stall;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Failure::cancelled()),
                () = tokio::time::sleep_until(self.turn_ends) => {
                    return Err(timed_out("did not end its turn", self.limits.turn));
                }
                frame = self.frames.next() => frame,
                () = tokio::time::sleep_until(stall_ends) => {
                    return Err(timed_out("wrote nothing", self.limits.stall));
                }
                printed = self.peer.printed(), if self.prints => {
                    self.prints = printed.is_some();
                    continue;
                }
            };
            match frame {
                Some(Ok(Message::Text(text))) => {
                    self.raw.line(Stream::Stdout, text.as_bytes());
                    // Lines of its own beside the protocol: `//ready`, `//stderr …`.
                    if !text.starts_with("//") {
                        return Ok(Some(text.as_bytes().to_vec()));
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn hand_on(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        for event in events {
            tokio::select! {
                // Nobody listening is no reason to fail a turn.
                _ = self.events.send(event) => {}
                () = self.cancel.cancelled() => return Err(Failure::cancelled()),
            }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        self.peer.last_words()
    }

    async fn end(mut self: Box<Self>) {
        // It may be gone already.
        let _ = tokio::time::timeout(BETWEEN, self.frames.close(None)).await;
        self.peer.end().await;
    }
}
