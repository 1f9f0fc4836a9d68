//! Classifications of hunks by visible properties, and hunks to classify.

use crate::draw::Draw;

/// A property of hunks with its classes. Every hunk that [`Hunk::drawn`] creates is in exactly one.
pub(super) struct Scheme {
    /// Completes the sentence "what counts is …".
    pub(super) by: &'static str,
    /// Each completes "a hunk that …". They are never shown.
    pub(super) classes: &'static [&'static str],
    class: fn(&Hunk) -> usize,
}

pub(super) const SCHEMES: [Scheme; 6] = [
    Scheme {
        by: "whether a hunk adds lines, removes lines, or does both",
        classes: &[
            "adds lines and removes none",
            "removes lines and adds none",
            "both adds and removes lines",
        ],
        class: |hunk| match (hunk.added.is_empty(), hunk.removed.is_empty()) {
            (false, true) => 0,
            (true, _) => 1,
            (false, false) => 2,
        },
    },
    Scheme {
        by: "whether a hunk adds more lines than it removes, fewer, or as many",
        classes: &[
            "adds more lines than it removes",
            "removes more lines than it adds",
            "adds as many lines as it removes",
        ],
        class: |hunk| match hunk.added.len().cmp(&hunk.removed.len()) {
            std::cmp::Ordering::Greater => 0,
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Equal => 2,
        },
    },
    Scheme {
        by: "where a hunk starts in the old file: before line 100, from there to line 499, or later",
        classes: &[
            "starts before line 100 of the old file",
            "starts in the lines 100 to 499 of the old file",
            "starts at line 500 of the old file or later",
        ],
        class: |hunk| match hunk.start {
            0..100 => 0,
            100..500 => 1,
            500.. => 2,
        },
    },
    Scheme {
        by: "whether a hunk adds a line with the word TODO, one with FIXME, or neither",
        classes: &[
            "adds a line with the word TODO",
            "adds a line with the word FIXME",
            "adds no line with TODO or FIXME",
        ],
        class: |hunk| {
            let adds = |word| hunk.added.iter().any(|line| line.contains(word));
            match (adds("TODO"), adds("FIXME")) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            }
        },
    },
    Scheme {
        by: "which ends of a hunk are unchanged lines: the first, the last, both or none",
        classes: &[
            "opens with an unchanged line and ends with a changed one",
            "opens with a changed line and ends with an unchanged one",
            "has unchanged lines at both ends",
            "has no unchanged line",
        ],
        class: |hunk| match (hunk.before.is_empty(), hunk.after.is_empty()) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        },
    },
    Scheme {
        by: "how many lines a hunk adds and removes in all: one or two, three or four, or more",
        classes: &[
            "adds and removes one or two lines in all",
            "adds and removes three or four lines in all",
            "adds and removes five lines or more in all",
        ],
        class: |hunk| match hunk.added.len() + hunk.removed.len() {
            0..=2 => 0,
            3..=4 => 1,
            5.. => 2,
        },
    },
];

/// An invented hunk. It belongs to no language, so that it can be in a file of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    start: usize,
    before: Vec<String>,
    removed: Vec<String>,
    added: Vec<String>,
    after: Vec<String>,
}

const NOUNS: [&str; 12] = [
    "count", "total", "limit", "index", "buffer", "cursor", "offset", "result", "window", "depth",
    "weight", "margin",
];

impl Hunk {
    /// Returns a hunk of this class. Returns `None` if the class hardly ever occurs.
    pub(super) fn of_class(scheme: &Scheme, class: usize, draw: &mut Draw) -> Option<Self> {
        (0..1000)
            .map(|_| Self::drawn(draw))
            .find(|hunk| (scheme.class)(hunk) == class)
    }

    fn drawn(draw: &mut Draw) -> Self {
        // Three ranges, so that hunks at the top of a file are not rare.
        let ranges = [(3, 99), (100, 499), (500, 990)];
        let (first, last) = ranges[draw.below(ranges.len())];
        let start = draw.between(first, last);
        let (removed, added) = match draw.below(3) {
            0 => (0, draw.between(1, 5)),
            1 => (draw.between(1, 5), 0),
            _ => (draw.between(1, 4), draw.between(1, 4)),
        };
        let (before, after) = (draw.below(3), draw.below(3));
        let mut hunk = Self {
            start,
            before: lines(before, draw),
            removed: lines(removed, draw),
            added: lines(added, draw),
            after: lines(after, draw),
        };
        if let Some(line) = hunk.added.first_mut() {
            match draw.below(4) {
                0 => line.push_str("  # TODO"),
                1 => line.push_str("  # FIXME"),
                _ => {}
            }
        }
        hunk
    }

    /// Returns the hunk as a diff in a code block.
    pub(super) fn fenced(&self) -> String {
        let kept = self.before.len() + self.after.len();
        let mut text = format!(
            "```diff\n@@ -{start},{old} +{start},{new} @@\n",
            start = self.start,
            old = kept + self.removed.len(),
            new = kept + self.added.len(),
        );
        let parts = [
            (' ', &self.before),
            ('-', &self.removed),
            ('+', &self.added),
            (' ', &self.after),
        ];
        for (sign, lines) in parts {
            for line in lines {
                text.push(sign);
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push_str("```");
        text
    }
}

fn lines(count: usize, draw: &mut Draw) -> Vec<String> {
    (0..count)
        .map(|_| {
            let [left, right] = [
                NOUNS[draw.below(NOUNS.len())],
                NOUNS[draw.below(NOUNS.len())],
            ];
            format!("{left} = {right} + {}", draw.between(1, 99))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Hunk, SCHEMES};
    use crate::draw::Draw;

    #[test]
    fn every_class_of_every_scheme_has_hunks() {
        let mut draw = Draw::new(1, "test");
        for scheme in &SCHEMES {
            for class in 0..scheme.classes.len() {
                assert!(Hunk::of_class(scheme, class, &mut draw).is_some());
            }
        }
    }

    #[test]
    fn a_hunk_counts_its_lines_in_its_header() {
        let hunk = Hunk {
            start: 7,
            before: vec!["a".to_owned()],
            removed: vec!["b".to_owned()],
            added: vec!["c".to_owned(), "d".to_owned()],
            after: Vec::new(),
        };
        assert_eq!(
            hunk.fenced(),
            "```diff\n@@ -7,2 +7,3 @@\n a\n-b\n+c\n+d\n```"
        );
    }
}
