//! Words, names and numbers that cannot be guessed, for facts that only the conversation defines.

use std::collections::BTreeSet;

use crate::draw::Draw;
use crate::facts::FactSheet;

const OPENINGS: [&str; 18] = [
    "b", "br", "d", "dr", "f", "g", "gl", "k", "l", "m", "n", "p", "r", "s", "t", "tr", "v", "z",
];
const VOWELS: [&str; 6] = ["a", "e", "i", "o", "u", "ai"];
const ENDINGS: [&str; 10] = ["l", "n", "r", "x", "m", "nd", "rk", "th", "sk", "vin"];
const FIRST_NAMES: [&str; 10] = [
    "Maren", "Tobias", "Ines", "Jorun", "Casper", "Leonie", "Anton", "Yara", "Silvan", "Petra",
];

/// Creates words that are neither in the pull request nor among the earlier words.
pub(super) struct Words {
    /// Every path, name and value of the sheet, in lower case.
    repository: String,
    used: BTreeSet<String>,
}

impl Words {
    pub(super) fn new(sheet: &FactSheet) -> Self {
        let paths = sheet.files.iter().map(|file| file.path.as_str());
        let symbols = sheet.symbols.iter().map(|symbol| symbol.name.as_str());
        let constants = sheet
            .constants
            .iter()
            .map(|constant| constant.value.as_str());
        let others = sheet
            .other_paths
            .iter()
            .chain(&sheet.other_symbols)
            .map(String::as_str);
        let all: Vec<&str> = paths
            .chain(symbols)
            .chain(constants)
            .chain(others)
            .collect();
        Self {
            repository: all.join("\n").to_lowercase(),
            used: BTreeSet::new(),
        }
    }

    /// Returns a new word in lower case. No word is part of another.
    pub(super) fn word(&mut self, draw: &mut Draw) -> String {
        // The loop ends: after every few thousand words it makes longer ones.
        let mut tries = 0;
        loop {
            let syllables = 2 + tries / 50;
            let word: String = (0..syllables)
                .flat_map(|_| {
                    [
                        pick(draw, &OPENINGS),
                        pick(draw, &VOWELS),
                        pick(draw, &ENDINGS),
                    ]
                })
                .collect();
            let clashes = |other: &String| other.contains(&word) || word.contains(other.as_str());
            if !self.repository.contains(&word) && !self.used.iter().any(clashes) {
                self.used.insert(word.clone());
                return word;
            }
            tries += 1;
        }
    }

    /// Returns a new word with a capital first letter.
    pub(super) fn proper(&mut self, draw: &mut Draw) -> String {
        let word = self.word(draw);
        word[..1].to_uppercase() + &word[1..]
    }

    /// Returns the name of a person.
    pub(super) fn person(&mut self, draw: &mut Draw) -> String {
        format!("{} {}", pick(draw, &FIRST_NAMES), self.proper(draw))
    }

    /// Returns a number of two to four digits that was not drawn before, while there are any.
    pub(super) fn number(&mut self, draw: &mut Draw, first: usize, last: usize) -> String {
        let mut number = draw.between(first, last).to_string();
        for _ in 0..1000 {
            if self.used.insert(format!("#{number}")) {
                break;
            }
            number = draw.between(first, last).to_string();
        }
        number
    }
}

fn pick(draw: &mut Draw, parts: &[&'static str]) -> &'static str {
    parts[draw.below(parts.len())]
}
