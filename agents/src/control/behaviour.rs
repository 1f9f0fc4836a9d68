//! Behaviours of the control agents.

use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The behaviour of a control agent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Keeps the evidence of everything that it read.
    Perfect,
    /// Its compaction keeps nothing.
    Amnesiac,
    /// Its compaction keeps each entry with this probability.
    Lossy(f64),
    /// Its compaction keeps the first version of every fact.
    Stale,
    /// Reads nothing, and answers with plausible distractors.
    Guesser,
    /// Like perfect, but uses a tool while it is sealed.
    Cheater,
    /// Answers at length without any fact.
    Vague,
    /// Reads, and answers every question with an empty text.
    Silent,
}

impl Behaviour {
    /// Parses an agent's name, such as `control-lossy:0.25`.
    ///
    /// # Errors
    ///
    /// Describes the problem for people.
    pub fn from_agent_name(name: &str) -> Result<Self, String> {
        let (family, parameter) = match name.split_once(':') {
            Some((family, parameter)) => (family, Some(parameter)),
            None => (name, None),
        };
        let behaviour = match family {
            "control-perfect" => Self::Perfect,
            "control-amnesiac" => Self::Amnesiac,
            "control-lossy" => Self::Lossy(0.5),
            "control-stale" => Self::Stale,
            "control-guesser" => Self::Guesser,
            "control-cheater" => Self::Cheater,
            "control-vague" => Self::Vague,
            "control-silent" => Self::Silent,
            _ => return Err(format!("unknown control agent {name:?}")),
        };
        match (behaviour, parameter) {
            (behaviour, None) => Ok(behaviour),
            (Self::Lossy(_), Some(share)) => match share.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Lossy(share)),
                Ok(_) | Err(_) => Err(format!(
                    "invalid agent name {name:?}: the share that is kept must be a number from 0 to 1, such \
                     as control-lossy:0.5"
                )),
            },
            (_, Some(_)) => Err(format!(
                "invalid agent name {name:?}: {family} takes no parameter"
            )),
        }
    }

    /// Returns whether it reads the files that a prompt names.
    pub(super) fn reads(self) -> bool {
        match self {
            Self::Guesser => false,
            Self::Perfect
            | Self::Amnesiac
            | Self::Lossy(_)
            | Self::Stale
            | Self::Cheater
            | Self::Vague
            | Self::Silent => true,
        }
    }

    /// Returns how many of the held `versions` of an entry its compaction keeps. `before` is the
    /// number of earlier compactions: each compaction draws again.
    pub fn keeps(self, entry: &str, versions: usize, seed: u64, before: u32) -> usize {
        match self {
            Self::Perfect | Self::Cheater | Self::Vague | Self::Silent => versions,
            Self::Amnesiac | Self::Guesser => 0,
            Self::Stale => versions.min(1),
            Self::Lossy(share) => {
                let draw = match before {
                    0 => unit_interval(seed, entry),
                    _ => unit_interval(seed, &format!("{entry} after {before}")),
                };
                if draw < share { versions } else { 0 }
            }
        }
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::from_agent_name(name)
    }
}

/// Returns a number in `[0, 1)` that depends only on a seed and a text.
pub(super) fn unit_interval(seed: u64, text: &str) -> f64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(text)
        .finalize();
    let bits = digest
        .iter()
        .take(8)
        .fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    // A double holds 53 bits exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lossy_takes_a_parameter_and_only_a_share() {
        assert_eq!(
            Behaviour::from_agent_name("control-lossy:0.25"),
            Ok(Behaviour::Lossy(0.25))
        );
        assert_eq!(
            Behaviour::from_agent_name("control-lossy"),
            Ok(Behaviour::Lossy(0.5))
        );
        for bad in [
            "control-lossy:2",
            "control-lossy:NaN",
            "control-lossy:",
            "control-perfect:1",
        ] {
            assert!(Behaviour::from_agent_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_compaction_of_a_lossy_control_draws_again() {
        let kept = |before| -> Vec<usize> {
            (0..200)
                .map(|entry| Behaviour::Lossy(0.5).keeps(&format!("AR-{entry}"), 1, 7, before))
                .collect()
        };
        assert_ne!(kept(0), kept(1));
        assert_ne!(kept(1), kept(2));
    }

    #[test]
    fn a_lossy_control_keeps_its_share_over_many_entries() {
        let kept: usize = (0..4_000)
            .map(|entry| Behaviour::Lossy(0.3).keeps(&format!("AR-{entry}"), 1, 7, 0))
            .sum();
        // Four standard deviations of a binomial draw around 1,200.
        assert!((1_084..=1_316).contains(&kept), "{kept}");
    }
}
