//! Settings of the agents' programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agents::adapter::{Profile, STUB_KEY};
use agents::adapters::acp::config::{self, ConfiguredAgent};
use agents::adapters::{Setup, VARIABLES};
use agents::control::ControlProgram;
use agents::program::Programs;
use agents::sandbox::{Mode, Sandbox};
use platform::settings::{ExposeSecret, Reader, SecretString};
use sha2::{Digest, Sha256};

use super::paths::absolute;

/// Settings of the agents' programs: their paths, their models and their environment.
#[derive(Clone, Debug, Default)]
pub struct AgentSettings {
    /// `CONTROL_BIN`: program of the control agents. Default: the running executable.
    pub control_bin: Option<PathBuf>,
    /// `AGENTS_DIR`: folder that `scripts/install-agents.sh` created. Default: `data/agents`.
    pub folder: PathBuf,
    /// `CLAUDE_BIN` and similar settings, by the agent's name.
    pub programs: BTreeMap<String, PathBuf>,
    /// `CLAUDE_MODEL` and similar settings, by the agent's name.
    pub models: BTreeMap<String, String>,
    /// Variables that an adapter may ask for, if they are set. Some are keys.
    pub variables: BTreeMap<String, SecretString>,
    /// `AGENTS_FILE`: agents that are configured rather than implemented.
    pub configured: Vec<ConfiguredAgent>,
    /// `SANDBOX`: confinement of the agents' processes.
    pub sandbox: Mode,
    /// `SANDBOX_CONNECT_PORTS`: TCP ports that agents may connect to, comma-separated. Default:
    /// any.
    pub connect_ports: Option<Vec<u16>>,
}

/// Agents with a program of their own, and the settings of the program and its model.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("claude", "CLAUDE_BIN", "CLAUDE_MODEL"),
    ("gemini", "GEMINI_BIN", "GEMINI_MODEL"),
    ("iflow", "IFLOW_BIN", "IFLOW_MODEL_NAME"),
    ("qwen", "QWEN_BIN", "QWEN_MODEL"),
    ("codex", "CODEX_BIN", "CODEX_MODEL"),
];

impl AgentSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let sandbox = reader.parsed("SANDBOX", Mode::Auto);
        let connect_ports = ports(reader);
        let configured = configured(reader);
        let reader = &*reader;
        let named = |setting: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
            PROGRAMS.iter().filter_map(move |names| {
                let value = reader.text(setting(names))?;
                Some((names.0.to_owned(), value))
            })
        };
        Self {
            control_bin: reader.text("CONTROL_BIN").map(PathBuf::from),
            folder: absolute(PathBuf::from(
                reader
                    .text("AGENTS_DIR")
                    .unwrap_or_else(|| "data/agents".to_owned()),
            )),
            programs: named(|names| names.1)
                .map(|(agent, path)| (agent, PathBuf::from(path)))
                .collect(),
            models: named(|names| names.2).collect(),
            variables: VARIABLES
                .iter()
                .map(|name| (*name).to_owned())
                .chain(configured.iter().flat_map(ConfiguredAgent::variables))
                .filter_map(|name| Some((name.clone(), reader.custom_secret(&name)?)))
                .collect(),
            configured,
            sandbox,
            connect_ports,
        }
    }

    /// Returns the setup of all adapters.
    ///
    /// # Errors
    ///
    /// The path of the running executable is unknown.
    pub fn setup(&self) -> std::io::Result<Setup> {
        Ok(Setup {
            control: ControlProgram::at_path_or_this_executable(self.control_bin.as_deref())?,
            programs: Programs {
                installed: Some(self.folder.clone()),
                paths: self.programs.clone(),
            },
            models: self.models.clone(),
            configured: self.configured.clone(),
        })
    }

    /// Returns the sandbox, as far as this machine supports it.
    ///
    /// # Errors
    ///
    /// This machine does not support the requested confinement.
    pub fn sandbox(&self) -> Result<Sandbox, String> {
        let sandbox = Sandbox::detect(self.sandbox)?;
        match &self.connect_ports {
            Some(ports) => sandbox
                .connecting_only_to(ports)
                .map_err(|why| format!("SANDBOX_CONNECT_PORTS cannot be enforced: {why}")),
            None => Ok(sandbox),
        }
    }

    /// Returns the environment values that configured agents receive. Any of them may be a key, so
    /// none is ever shown.
    pub fn secrets(&self) -> impl Iterator<Item = SecretString> {
        self.configured
            .iter()
            .flat_map(ConfiguredAgent::variables)
            .filter_map(|name| self.variables.get(&name).cloned())
    }

    /// Returns whether an agent asks a model stub: its key is that of a stub.
    pub fn asks_stub(&self, profile: &Profile) -> bool {
        self.environment(profile)
            .values()
            .any(|value| value.starts_with(STUB_KEY))
    }

    /// Returns the model that an agent asks, as far as it is configured: the model's name,
    /// `MODEL@ORIGIN` if requests go to another address than the provider's, or `MODEL@stub` for a
    /// model stub. Returns `None` for an agent without a model.
    pub fn model(&self, profile: &Profile) -> Option<String> {
        let model = profile.default_model.as_deref();
        if self.asks_stub(profile) {
            return Some(format!("{}@stub", model.unwrap_or("default")));
        }
        let environment = self.environment(profile);
        let mut origins = environment
            .iter()
            .filter(|(name, _)| name.ends_with("_BASE_URL"))
            .map(|(_, url)| origin(url));
        match (model, origins.next()) {
            (model, Some(origin)) => Some(format!("{}@{origin}", model.unwrap_or("default"))),
            (model, None) => model.map(str::to_owned),
        }
    }

    /// Returns the SHA-256 of an agent's configuration beyond its version and model: its
    /// capabilities, command line and variables. Keys count by name only, so that another key is
    /// not another agent.
    pub fn configuration_hash(&self, profile: &Profile) -> String {
        let configured = self
            .configured
            .iter()
            .find(|configured| configured.name == profile.name);
        let is_key = |name: &str| {
            ["KEY", "TOKEN", "SECRET", "PASSWORD"]
                .iter()
                .any(|word| name.to_ascii_uppercase().contains(word))
        };
        let variables: BTreeMap<String, Option<String>> = self
            .environment(profile)
            .into_iter()
            .map(|(name, value)| {
                let value = (!is_key(&name)).then_some(value);
                (name, value)
            })
            .collect();
        // The `Debug` output of these types contains all fields.
        let described = format!(
            "{:?} {:?} {configured:?} {variables:?}",
            profile.capabilities, profile.default_model
        );
        hex::encode(Sha256::digest(described))
    }

    /// Returns an agent's part of the worker's environment: the variables that its profile lists.
    pub fn environment(&self, profile: &Profile) -> BTreeMap<String, String> {
        profile
            .environment
            .iter()
            .filter_map(|name| {
                let value = self.variables.get(name)?;
                Some((name.clone(), value.expose_secret().to_owned()))
            })
            .collect()
    }
}

/// Reads the file of configured agents. Settings are read once, before anything else runs.
fn configured(reader: &mut Reader<'_>) -> Vec<ConfiguredAgent> {
    let Some(path) = reader.text("AGENTS_FILE") else {
        return Vec::new();
    };
    let taken = agents::adapters::built_in_names();
    let read = std::fs::read_to_string(&path)
        .map_err(|error| error.to_string())
        .and_then(|text| config::parse(&text, &taken));
    read.unwrap_or_else(|why| {
        reader.refuse("AGENTS_FILE", format!("{path}: {why}"));
        Vec::new()
    })
}

fn ports(reader: &mut Reader<'_>) -> Option<Vec<u16>> {
    let listed = reader.list("SANDBOX_CONNECT_PORTS")?;
    let ports: Vec<u16> = listed.iter().filter_map(|port| port.parse().ok()).collect();
    if ports.is_empty() || ports.len() < listed.len() || ports.contains(&0) {
        let problem = "must be TCP ports between commas, such as 443";
        reader.refuse("SANDBOX_CONNECT_PORTS", problem);
    }
    Some(ports)
}

/// Returns scheme, host and port of an address. A user, a password or a query may be secret.
pub(crate) fn origin(address: &str) -> String {
    url::Url::parse(address).map_or_else(
        |_| "not an address".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_address_is_shown_without_what_may_be_secret() {
        let shown = origin("https://me:word@models.example:8443/v1?key=1");
        assert_eq!(shown, "https://models.example:8443");
        assert_eq!(origin("models"), "not an address");
    }
}
