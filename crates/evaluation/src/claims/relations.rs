//! What a sentence says of a name: that it is defined somewhere, used, tested, that it returns or
//! takes something. `b.rs` in "`f` is defined in `b.rs`" is no word on where `f` is used.

use std::sync::LazyLock;

use regex::Regex;

use super::FactKind;
use super::shapes::Shape;

/// A relation between a subject and a value, told by a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Home,
    Use,
    Test,
    Returns,
    /// Parameters: there is no fact of this kind, so that what is told by it is never one.
    Takes,
}

/// Where the value stands, seen from the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// `is defined in VALUE`.
    After,
    /// `VALUE defines`.
    Before,
}

/// A word that tells a relation.
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
    /// The relation that a fact of this kind tells; none where no word has to tell it.
    pub(super) fn of(kind: FactKind) -> Option<Self> {
        match kind {
            FactKind::Home => Some(Self::Home),
            FactKind::Use => Some(Self::Use),
            FactKind::Test => Some(Self::Test),
            FactKind::Returns => Some(Self::Returns),
            FactKind::Status | FactKind::Value | FactKind::Agreed => None,
        }
    }

    /// Whether a word of this relation can speak of a value of this shape: "`f`, defined in `a.rs`,
    /// returns `T`" says nothing of where `T` is.
    fn speaks_of(self, shape: Shape) -> bool {
        match shape {
            Shape::Path => matches!(self, Self::Home | Self::Use),
            Shape::Code => matches!(self, Self::Returns | Self::Takes | Self::Test | Self::Use),
            Shape::Number | Shape::Flag | Shape::Text => true,
        }
    }
}

/// The words of a sentence that tell a relation of values of this shape. `plain` is the sentence
/// without what is quoted and without paths, of the same length.
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
        // An arrow only after parameters: `a -> b -> c` is an order.
        _ if word.starts_with("return") || word == "yields" || word.ends_with("->") => {
            (Relation::Returns, Side::After)
        }
        _ => (Relation::Takes, Side::After),
    }
}

/// By which relation the text from `start` to `end` is told; none where no word tells one.
///
/// It is the nearer of the last word before it that has its value after it and the first word after
/// it that has its value before it; where there is neither, as in a question and its answer, the
/// nearest word.
pub(super) fn told_by(words: &[Word], start: usize, end: usize) -> Option<Relation> {
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
