//! The program behind an adapter: its profile, its location, its version and its model.

use tokio::sync::OnceCell;

use super::session::CliSession;
use super::{NETWORK_VARIABLES, NODE_CERTIFICATES};
use crate::adapter::{Capabilities, Presence, Profile, SessionSpec};
use crate::adapters::agent_name;
use crate::adapters::setup::Setup;
use crate::failure::Failure;
use crate::program::{InstalledProgram, Programs, presence};

/// Properties of a command-line tool that are the same on every machine. The program has the
/// agent's name.
pub(in crate::adapters) struct CliDescription {
    pub(in crate::adapters) name: &'static str,
    pub(in crate::adapters) display_name: &'static str,
    pub(in crate::adapters) install_hint: &'static str,
    pub(in crate::adapters) default_model: &'static str,
    pub(in crate::adapters) capabilities: Capabilities,
    /// Variables of the worker's environment that the program gets, besides those of the network.
    pub(in crate::adapters) environment: &'static [&'static str],
    /// Whether the program runs on Node, which has a variable of its own for certificates.
    pub(in crate::adapters) runs_on_node: bool,
}

/// A command-line tool as it is set up on this machine.
pub(in crate::adapters) struct CliProgram {
    profile: Profile,
    /// Name of the executable.
    command: String,
    programs: Programs,
    presence: OnceCell<Presence>,
}

impl CliProgram {
    /// Creates a tool that asks for the model of `setup`, or for its default model.
    pub(in crate::adapters) fn new(description: &CliDescription, setup: &Setup) -> Self {
        let model = setup.models.get(description.name);
        let profile = Profile {
            name: description.name.to_owned(),
            display_name: description.display_name.to_owned(),
            capabilities: description.capabilities,
            install_hint: description.install_hint.to_owned(),
            control: false,
            environment: description
                .environment
                .iter()
                .chain(&NETWORK_VARIABLES)
                .filter(|&&name| description.runs_on_node || name != NODE_CERTIFICATES)
                .map(|&name| name.to_owned())
                .collect(),
            default_model: Some(
                model.map_or_else(|| description.default_model.to_owned(), Clone::clone),
            ),
        };
        Self::with_profile(profile, description.name, setup.programs.clone())
    }

    /// Creates a tool from its profile. `command` is the name of its executable.
    pub(in crate::adapters) fn with_profile(
        profile: Profile,
        command: &str,
        programs: Programs,
    ) -> Self {
        Self {
            profile,
            command: command.to_owned(),
            programs,
            presence: OnceCell::new(),
        }
    }

    /// Returns the same tool with the model in an agent's name, such as `claude:MODEL`.
    pub(in crate::adapters) fn with_model_of(&self, agent: &str) -> Result<Self, Failure> {
        let model = agent_name::model(agent)?;
        let profile = Profile {
            default_model: Some(model.to_owned()),
            ..self.profile.clone()
        };
        Ok(Self::with_profile(
            profile,
            &self.command,
            self.programs.clone(),
        ))
    }

    pub(in crate::adapters) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns whether the program is installed, and its version. Starts the program once.
    pub(in crate::adapters) async fn probe(&self) -> Presence {
        self.presence
            .get_or_init(|| presence(self.locate(), &self.profile.install_hint))
            .await
            .clone()
    }

    /// Returns the parts of a new session that all tools have.
    pub(in crate::adapters) fn session(&self, spec: SessionSpec) -> Result<CliSession, Failure> {
        let program = self.locate().map_err(|why| {
            Failure::harness(format!(
                "could not start {}: {why}. Install it: {}",
                self.profile.display_name, self.profile.install_hint
            ))
        })?;
        let model = self.profile.default_model.clone().unwrap_or_default();
        Ok(CliSession::new(program, model, spec))
    }

    fn locate(&self) -> Result<InstalledProgram, String> {
        self.programs.find(&self.profile.name, &self.command)
    }
}
