//! A program that behaves like the recorded iFlow CLI: see [`simulator::iflow_peer`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match simulator::iflow_peer::run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a program reports why it failed")]
            {
                eprintln!("iflow-peer: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
