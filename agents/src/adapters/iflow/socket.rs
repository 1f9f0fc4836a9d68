//! Connection to iFlow: messages of the Agent Client Protocol over a `WebSocket` that the program
//! opens on a port of our choice.

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

use crate::adapter::{Limits, RawSink, SessionSpec, Stream};
use crate::adapters::acp::wire::Wire;
use crate::event::AgentEvent;
use crate::failure::{Cause, Failure};
use crate::process::{self, InteractiveProcess, Launch};

/// Time limit for the program to open its socket. It was measured to take 1.3 s.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between two attempts to connect.
const CONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// A running program and the socket to it.
pub(super) struct Socket {
    process: InteractiveProcess,
    frames: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Whether the standard output is still open. It carries nothing of the protocol.
    stdout_open: bool,
    /// Removed from recorded lines.
    secret: Option<String>,
    limits: Limits,
    turn_ends: Instant,
    raw: std::sync::Arc<dyn RawSink>,
    events: mpsc::Sender<AgentEvent>,
    cancel: CancellationToken,
}

/// Returns a port that is free now.
pub(super) async fn free_port() -> Result<u16, Failure> {
    let port = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Ok::<u16, std::io::Error>(listener.local_addr()?.port())
    };
    port.await
        .map_err(|error| Failure::harness(format!("could not find a free port: {error}")))
}

impl Socket {
    /// Starts the program and connects to its socket.
    pub(super) async fn open(
        launch: &Launch,
        spec: &SessionSpec,
        port: u16,
    ) -> Result<Self, Failure> {
        let mut process = InteractiveProcess::start(launch, spec).await?;
        let url = format!("ws://127.0.0.1:{port}/acp?peer=iflow");
        let config = WebSocketConfig::default()
            .max_message_size(Some(spec.limits.line_bytes))
            .max_frame_size(Some(spec.limits.line_bytes));
        let connecting = async {
            loop {
                let connected =
                    tokio_tungstenite::connect_async_with_config(&url, Some(config), true).await;
                if let Ok((frames, _)) = connected {
                    return frames;
                }
                tokio::time::sleep(CONNECT_INTERVAL).await;
            }
        };
        let mut exited = false;
        let connected = tokio::select! {
            connected = tokio::time::timeout(OPEN_TIMEOUT, connecting) => connected.ok(),
            () = drain_stdout(&mut process) => {
                exited = true;
                None
            }
            () = spec.cancel.cancelled() => {
                process.terminate().await;
                return Err(Failure::cancelled());
            }
        };
        let Some(frames) = connected else {
            let stderr = process.stderr_tail();
            process.terminate().await;
            let message = if exited {
                "iFlow exited before it opened its socket"
            } else {
                "iFlow did not open its socket in time"
            };
            return Err(Failure::new(
                Cause::AgentCrashed,
                format!("{message}: {stderr}"),
            ));
        };
        Ok(Self {
            process,
            frames,
            stdout_open: true,
            secret: spec.environment.get("IFLOW_API_KEY").cloned(),
            limits: spec.limits,
            turn_ends: Instant::now() + spec.limits.turn,
            raw: std::sync::Arc::clone(&spec.raw),
            events: spec.events.clone(),
            cancel: spec.cancel.clone(),
        })
    }
}

/// Reads the standard output to its end.
async fn drain_stdout(process: &mut InteractiveProcess) {
    while process.next_unlimited().await.is_some() {}
}

#[async_trait]
impl Wire for Socket {
    fn begin_turn(&mut self) {
        self.turn_ends = Instant::now() + self.limits.turn;
    }

    async fn send(&mut self, message: &str) -> Result<(), Failure> {
        let recorded = match self.secret.as_deref().filter(|secret| !secret.is_empty()) {
            Some(secret) => message.replace(secret, "[redacted]"),
            None => message.to_owned(),
        };
        self.raw.line(Stream::Stdin, recorded.as_bytes());
        let sent = self.frames.send(Message::text(message.to_owned()));
        tokio::select! {
            sent = sent => sent.map_err(|error| {
                Failure::new(Cause::AgentCrashed, format!("could not send to iFlow: {error}"))
            }),
            () = self.cancel.cancelled() => Err(Failure::cancelled()),
            () = tokio::time::sleep_until(self.turn_ends) => {
                Err(process::turn_timed_out(&self.limits))
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
                    return Err(process::turn_timed_out(&self.limits));
                }
                frame = self.frames.next() => frame,
                () = tokio::time::sleep_until(stall_ends) => {
                    return Err(process::stalled(&self.limits));
                }
                line = self.process.next_unlimited(), if self.stdout_open => {
                    self.stdout_open = line.is_some();
                    continue;
                }
            };
            match frame {
                Some(Ok(Message::Text(text))) => {
                    self.raw.line(Stream::Stdout, text.as_bytes());
                    // Lines of the program besides the protocol: `//ready`, `//stderr …`.
                    if !text.starts_with("//") {
                        return Ok(Some(text.as_bytes().to_vec()));
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn send_events(&mut self, events: Vec<AgentEvent>) -> Result<(), Failure> {
        process::send_events(&self.events, &self.cancel, events, self.turn_ends).await
    }

    fn stderr_tail(&self) -> String {
        self.process.stderr_tail()
    }

    async fn terminate(mut self: Box<Self>) {
        // The program may have exited already.
        let _ = tokio::time::timeout(CONNECT_INTERVAL, self.frames.close(None)).await;
        self.process.terminate().await;
    }
}
