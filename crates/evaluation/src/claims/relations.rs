//! Relations that a sentence states about a name: where it is defined, used or tested, and which
//! values it returns or takes. In "`f` is defined in `b.rs`", `b.rs` is not a statement about the
//! use of `f`.

use std::sync::LazyLock;

use regex::Regex;

use super::atomic_fact::FactKind;
use super::shapes::Shape;

/// A relation between a subject and a value, expressed by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Home,
    Use,
    Test,
    Returns,
    /// Parameters. No fact has this kind, so a value with this relation is never a claim.
    Takes,
}

/// Position of the value relative to the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// `is defined in VALUE`.
    After,
    /// `VALUE defines`.
    Before,
}

/// A word that expresses a relation.
pub(super) struct Word {
    start: usize,
    end: usize,
    relation: Relation,
    side: Side,
}

static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(?:defined|defines?|declared|declares?|implemented|implements?|located|lives|used|uses?|using|called|calls?|imported|imports?|referenced|references|tested|tests?|covered|covers?|returned|returns?|returning|yields|takes?|taking|accepts|receives|parameters?|arguments?)\b|\)[ \t]*->",
    )
    .expect("the pattern is valid")
});

impl Relation {
    /// Returns the relation of a kind of fact. Returns `None` if no word has to express it.
    pub(super) fn for_kind(kind: FactKind) -> Option<Self> {
        match kind {
            FactKind::Home => Some(Self::Home),
            FactKind::Use => Some(Self::Use),
            FactKind::Test => Some(Self::Test),
            FactKind::Returns => Some(Self::Returns),
            FactKind::Status | FactKind::Value | FactKind::Agreed => None,
        }
    }

    /// Returns whether a word of this relation can refer to a value of this shape. "`f`, defined in
    /// `a.rs`, returns `T`" does not state where `T` is.
    fn speaks_of(self, shape: Shape) -> bool {
        match shape {
            Shape::Path => matches!(self, Self::Home | Self::Use),
            Shape::Code => matches!(self, Self::Returns | Self::Takes | Self::Test | Self::Use),
            Shape::Number | Shape::Flag | Shape::Text => true,
        }
    }
}

/// Returns the words of a sentence that express a relation to values of this shape. `plain` is the
/// sentence without quotes and paths, with the same length.
pub(super) fn words(plain: &str, shape: Shape) -> Vec<Word> {
    WORDS
        .find_iter(plain)
        .map(|found| {
            let text = found.as_str().to_lowercase();
            let (relation, side) = meaning(&text, shape);
            Word {
                start: found.start(),
                end: found.end(),
                relation,
                side,
            }
        })
        .filter(|word| word.relation.speaks_of(shape))
        .collect()
}

fn meaning(word: &str, shape: Shape) -> (Relation, Side) {
    let passive = word.ends_with("ed");
    let side = |passive: bool| if passive { Side::After } else { Side::Before };
    match word {
        "located" | "lives" => (Relation::Home, Side::After),
        _ if word.starts_with("defin") || word.starts_with("declar") => {
            (Relation::Home, side(passive))
        }
        _ if word.starts_with("implement") => (Relation::Home, side(passive)),
        // A file uses a name, and a name uses other names.
        _ if ["us", "call", "import", "referenc"]
            .iter()
            .any(|stem| word.starts_with(stem)) =>
        {
            (Relation::Use, side(passive || shape == Shape::Code))
        }
        _ if word.starts_with("cover") => (Relation::Test, side(passive)),
        _ if word.starts_with("test") => (Relation::Test, Side::After),
        // An arrow counts only after parameters: `a -> b -> c` is an order.
        _ if word.starts_with("return") || word == "yields" || word.ends_with("->") => {
            (Relation::Returns, Side::After)
        }
        _ => (Relation::Takes, Side::After),
    }
}

/// Returns the relation of the text from `start` to `end`. Returns `None` if no word expresses one.
///
/// Candidates are the last word before the text whose value follows it, and the first word after
/// the text whose value precedes it. The nearer one decides. If there is neither, as in a question
/// and its answer, the nearest word decides.
pub(super) fn relation_between(words: &[Word], start: usize, end: usize) -> Option<Relation> {
    let distance = |word: &Word| {
        if word.end <= start {
            start - word.end
        } else {
            word.start.saturating_sub(end)
        }
    };
    let fits = |word: &&Word| match word.side {
        Side::After => word.end <= start,
        Side::Before => word.start >= end,
    };
    let nearest = words.iter().filter(fits).min_by_key(|word| distance(word));
    nearest
        .or_else(|| words.iter().min_by_key(|word| distance(word)))
        .map(|word| word.relation)
}
