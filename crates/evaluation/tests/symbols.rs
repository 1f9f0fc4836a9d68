//! The symbols of one source file, a fixture per language.

use evaluation::symbols::{Definition, DefinitionKind, Symbols, read};
use proptest::prelude::*;

fn symbols(path: &str, text: &str) -> Symbols {
    read(path, text).expect("the language is known")
}

/// `kind name(parameters) -> returns @line..signature_end..end`, one line each.
fn shown(symbols: &Symbols) -> Vec<String> {
    let definition = |definition: &Definition| {
        let kind = match definition.kind {
            DefinitionKind::Function => "fn",
            DefinitionKind::Type => "type",
        };
        let parameters = definition.parameters.as_ref();
        format!(
            "{kind} {}({}) -> {} @{}..{}..{}",
            definition.name,
            parameters.map_or("?".to_owned(), |names| names.join(", ")),
            definition.returns.as_deref().unwrap_or("-"),
            definition.line,
            definition.signature.1,
            definition.end,
        )
    };
    symbols.definitions.iter().map(definition).collect()
}

fn constants(symbols: &Symbols) -> Vec<(&str, Option<&str>)> {
    let constants = symbols.constants.iter();
    constants
        .map(|constant| (constant.name.as_str(), constant.value.as_deref()))
        .collect()
}

fn calls<'a>(symbols: &'a Symbols, function: &str) -> Vec<&'a str> {
    let definition = symbols
        .definitions
        .iter()
        .find(|definition| definition.name == function);
    let calls = definition.expect("the function is defined").calls.iter();
    calls.map(|call| call.name.as_str()).collect()
}

fn tests(symbols: &Symbols) -> Vec<&str> {
    symbols
        .tests
        .iter()
        .map(|test| test.name.as_str())
        .collect()
}

fn lines_of(symbols: &Symbols, name: &str) -> Vec<u32> {
    let uses = symbols.uses.iter().filter(|used| used.name == name);
    uses.map(|used| used.line).collect()
}

#[test]
fn rust_is_read() {
    let read = symbols(
        "src/a.rs",
        r#"/// Mentions open_ledger only in words.
pub const LIMIT: usize = 4_096;
static GREETING: &str = "hello there";
const TABLE: [u8; 2] = [1, 2];
pub struct Ledger<T> {
    rows: Vec<T>,
}
impl<T> Ledger<T> {
    pub async fn post(
        &mut self,
        mut amount: u64,
        (a, b): (u8, u8),
    ) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}
fn open_ledger(path: &Path, _: u8, size: usize) -> Option<Ledger<u8>>
where
    u8: Copy,
{
    let file = open_file(path)?;
    let text = "open_ledger";
    assert_eq!(measure(&file), size);
    file.read_rows(inner(text)).into_ledger()
}
fn sum(left: u8, right: u8) -> u8 { left + right }
#[cfg(test)]
mod tests {
    #[tokio::test]
    // A comment in between.
    #[serial]
    async fn a_ledger_opens() { open_ledger(); }
    fn no_test() {}
    #[test] fn sums() {}
}
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Ledger(?) -> - @5..5..7",
            "fn post(?) -> Result<(), Box<dyn Error>> @9..13..15",
            "fn open_ledger(?) -> Option<Ledger<u8>> @17..19..25",
            "fn sum(left, right) -> u8 @26..26..26",
            "fn a_ledger_opens() -> - @32..32..32",
            "fn no_test() -> - @33..33..33",
            "fn sums() -> - @34..34..34",
        ]
    );
    assert_eq!(
        constants(&read),
        [
            ("LIMIT", Some("4_096")),
            ("GREETING", Some("hello there")),
            ("TABLE", None)
        ]
    );
    assert_eq!(
        calls(&read, "open_ledger"),
        ["open_file", "measure", "read_rows", "inner", "into_ledger"]
    );
    assert_eq!(tests(&read), ["a_ledger_opens", "sums"]);
    assert_eq!(lines_of(&read, "open_ledger"), [17, 32]);
    assert!(read.own.contains("rows") && read.own.contains("left"));
}

#[test]
fn python_is_read() {
    let read = symbols(
        "a.py",
        r#"
RETRIES = 3
NAME: str = 'pay roll'
lower = 4
COMPUTED = RETRIES * 2

class Roll(Base):
    DEPTH = 0x10
    def pay(self, who, *extra, amount: int = 3, **rest) -> "list[int]":
        # pay in a comment
        found = look_up(who)
        return settle(charge(found), [later(x) for x in extra])

def plain(
    one,
    two=2,
):
    LOCAL = 1

def test_pays():
    assert Roll().pay("me")
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Roll(?) -> - @7..7..12",
            "fn pay(who, extra, amount, rest) -> \"list[int]\" @9..9..12",
            "fn plain(one, two) -> - @14..17..18",
            "fn test_pays() -> - @20..20..21",
        ]
    );
    assert_eq!(
        constants(&read),
        [
            ("RETRIES", Some("3")),
            ("NAME", Some("pay roll")),
            ("COMPUTED", None),
            ("DEPTH", Some("0x10"))
        ]
    );
    assert_eq!(
        calls(&read, "pay"),
        ["look_up", "settle", "charge", "later"]
    );
    let pay = read
        .definitions
        .iter()
        .find(|found| found.name == "pay")
        .unwrap();
    assert!(
        pay.calls[1].finished > pay.calls[2].finished,
        "what is inside ends first"
    );
    assert!(pay.calls[3].elsewhen && !pay.calls[0].elsewhen);
    assert_eq!(tests(&read), ["test_pays"]);
    assert_eq!(lines_of(&read, "pay"), [9, 21]);
}

const SCRIPT: &str = r#"
export const LIMIT = 12;
const title = "a title";
let open = 3;
export function parseRow(row, { width }) { return row }
export const joinRows = async (first, ...rest) => {
  check(first);
  rest.forEach((one) => visit(one));
};
class Sheet {
  constructor(rows) { this.rows = rows }
  addRow(row, at = 0) { const inner = 5; return joinRows(row) }
}
describe("Sheet", () => {
  it("adds a row", () => { new Sheet().addRow(1) });
  test.only('joins', async () => {});
  it(`has ${1}`, () => {});
});
"#;

#[test]
fn javascript_is_read() {
    for ending in ["js", "jsx", "mjs"] {
        let read = symbols(&format!("a.{ending}"), SCRIPT);
        assert_eq!(
            shown(&read),
            [
                "fn parseRow(?) -> - @5..5..5",
                "fn joinRows(first, rest) -> - @6..6..9",
                "type Sheet(?) -> - @10..10..13",
                "fn constructor(rows) -> - @11..11..11",
                "fn addRow(row, at) -> - @12..12..12",
            ]
        );
        assert_eq!(
            constants(&read),
            [
                ("LIMIT", Some("12")),
                ("title", Some("a title")),
                ("joinRows", None)
            ]
        );
        assert_eq!(calls(&read, "joinRows"), ["check", "forEach", "visit"]);
        assert_eq!(tests(&read), ["adds a row", "joins"]);
        assert_eq!(lines_of(&read, "addRow"), [12, 15]);
    }
}

#[test]
fn typescript_is_read() {
    let read = symbols(
        "src/a.ts",
        r#"
export interface Row<T> { width: number; grow(by: number): void }
type Cells = { a: string };
export abstract class Grid extends Base {
  private cells: Cells;
  fill(this: Grid, value?: string, ...others: number[]): Promise<Map<string, number>> {
    return load(value);
  }
}
export const span = (from: number, to: number): number => to - from;
enum Colour { Red }
export const DEPTH: number = -7;
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Row(?) -> - @2..2..2",
            "fn grow(by) -> void @2..2..2",
            "type Cells(?) -> - @3..3..3",
            "type Grid(?) -> - @4..4..9",
            "fn fill(value, others) -> Promise<Map<string, number>> @6..6..8",
            "fn span(from, to) -> number @10..10..10",
            "type Colour(?) -> - @11..11..11",
        ]
    );
    assert!(constants(&read).contains(&("DEPTH", Some("-7"))));
    let page = symbols(
        "a.tsx",
        "export function Page(props: P): JSX.Element { return <Row a={cell(props)} /> }\n",
    );
    assert_eq!(shown(&page), ["fn Page(props) -> JSX.Element @1..1..1"]);
    assert_eq!(calls(&page, "Page"), ["cell"]);
    assert_eq!(lines_of(&page, "Row"), [1]);
}

#[test]
fn go_is_read() {
    let read = symbols(
        "a.go",
        r#"package a

const Limit = 10
const (
	First = "one"
	Second = iota
)

type Store struct {
	rows []int
}

func (s *Store) Put(key, value string, more ...int) (int, error) {
	prepare(key)
	defer s.unlock()
	return s.write(value), nil
}

func Unnamed(int, string) {}

func TestPut(t *testing.T) {
	s := Store{}
	s.Put("a", "b")
}
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Store(?) -> - @9..9..11",
            "fn Put(key, value, more) -> (int, error) @13..13..17",
            "fn Unnamed(?) -> - @19..19..19",
            "fn TestPut(t) -> - @21..21..24",
        ]
    );
    assert_eq!(
        constants(&read),
        [
            ("Limit", Some("10")),
            ("First", Some("one")),
            ("Second", None)
        ]
    );
    assert_eq!(calls(&read, "Put"), ["prepare", "unlock", "write"]);
    assert_eq!(tests(&read), ["TestPut"]);
}

#[test]
fn java_is_read() {
    let read = symbols(
        "A.java",
        r#"
public class Account extends Base {
    public static final int LIMIT = 500;
    private final String name = "x";
    public Account(String owner) { super(owner); }
    @Override
    public List<String> owners(final int from, String... names) throws E {
        check(from);
        return names(from);
    }
    @Test
    void paysOut() { new Account("a").owners(1); }
}
interface Bank { long RATE = 3L; void close(); }
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Account(?) -> - @2..2..13",
            "fn owners(from, names) -> List<String> @7..7..10",
            "fn paysOut() -> void @12..12..12",
            "type Bank(?) -> - @14..14..14",
            "fn close() -> void @14..14..14",
        ]
    );
    assert_eq!(
        constants(&read),
        [("LIMIT", Some("500")), ("RATE", Some("3L"))]
    );
    assert_eq!(calls(&read, "owners"), ["check", "names"]);
    assert_eq!(tests(&read), ["paysOut"]);
}

#[test]
fn c_is_read() {
    let read = symbols(
        "a.c",
        r#"
#define LIMIT 64
#define NAME "ring"
#define GUARD
#define GROW(x) (x + step)
static const int depth = 9;
struct ring { int head; };
typedef struct node { int key; } node;
typedef struct { int key; } leaf;
int declared(int);
static const char *ring_name(struct ring *ring, unsigned long size, ...)
{
    reset(ring);
    ring->hook(size);
    return NAME;
}
void
test_ring_name(void)
{
    ring_name(0, 1);
}
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type ring(?) -> - @7..7..7",
            "type node(?) -> - @8..8..8",
            "type leaf(?) -> - @9..9..9",
            "fn ring_name(ring, size) -> const char * @11..11..16",
            "fn test_ring_name() -> void @18..18..21",
        ]
    );
    assert_eq!(
        constants(&read),
        [
            ("LIMIT", Some("64")),
            ("NAME", Some("ring")),
            ("depth", Some("9"))
        ]
    );
    assert_eq!(calls(&read, "ring_name"), ["reset", "hook"]);
    assert_eq!(tests(&read), ["test_ring_name"]);
    assert_eq!(lines_of(&read, "step"), [5]);
    assert!(read.own.contains("declared"), "a declaration is no use");
}

#[test]
fn cpp_is_read() {
    let read = symbols(
        "a.cpp",
        r#"
namespace bank {
constexpr int LIMIT = 7;
class Account {
 public:
  Account(int id);
  ~Account();
  int balance() const { return sum_up(rows_); }
};
Account::Account(int id) {}
std::vector<int> &Account::rows(const std::string &key, int limit = 3) { return load(key); }
auto later(int when) -> double { return when; }
template <typename T> T pick(T *from) { return pick_one<T>(from); }
using Rows = std::vector<int>;
}
TEST(AccountTest, HasBalance) {
  EXPECT_EQ(Account(1).balance(), 0);
}
"#,
    );
    assert_eq!(
        shown(&read),
        [
            "type Account(?) -> - @4..4..9",
            "fn balance() -> int @8..8..8",
            "fn rows(key, limit) -> std::vector<int> & @11..11..11",
            "fn later(when) -> double @12..12..12",
            "fn pick(from) -> T @13..13..13",
            "type Rows(?) -> - @14..14..14",
        ]
    );
    assert_eq!(constants(&read), [("LIMIT", Some("7"))]);
    assert_eq!(calls(&read, "pick"), ["pick_one"]);
    assert_eq!(tests(&read), ["AccountTest.HasBalance"]);
}

#[test]
fn other_languages_are_read_line_by_line() {
    let read = symbols(
        "a.rb",
        "class Till\n  def self.ring_up(item) # ring_up\n    puts \"ring_up\"\n    count = tally(item)\n  end\nend\n",
    );
    assert_eq!(
        shown(&read),
        ["type Till(?) -> - @1..1..1", "fn ring_up(?) -> - @2..2..2"]
    );
    assert_eq!(lines_of(&read, "ring_up"), [2]);
    assert_eq!(lines_of(&read, "tally"), [4]);
    assert!(read.own.contains("count"));
    assert_eq!(evaluation::symbols::read("a.md", "def nothing"), None);
    assert_eq!(evaluation::symbols::read("Makefile", "def nothing"), None);
}

#[test]
fn names_in_tests_that_cannot_be_parsed_are_collected() {
    let hidden = |path: &str, text: &str| symbols(path, text).hidden.contains("charge_card");
    assert!(hidden(
        "a.rs",
        "proptest! { #[test] fn any(a in 0..3) { charge_card(a); } }\n"
    ));
    assert!(!hidden(
        "a.rs",
        "#[test] fn one() { assert!(charge_card(1)); }\n"
    ));
    assert!(hidden(
        "a.js",
        "it.each([1])('charges %s', (n) => { charge_card(n); });\n"
    ));
    assert!(!hidden(
        "a.js",
        "it('charges', () => { charge_card(1); });\n"
    ));
    assert!(hidden(
        "a.cpp",
        "TEST_CASE(\"charges\") { charge_card(1); }\n"
    ));
}

#[test]
fn facts_hidden_by_a_syntax_error_are_left_out() {
    let read = symbols(
        "a.rs",
        "fn whole(a: u8) -> u8 { a }\n\nfn broken(a: u8, -> { ) }\n",
    );
    assert!(shown(&read).contains(&"fn whole(a) -> u8 @1..1..1".to_owned()));
    let broken = read.definitions.iter().find(|found| found.name == "broken");
    assert!(
        broken.is_none_or(|found| found.parameters.is_none()),
        "{broken:?}"
    );
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    for (path, open, close) in [("a.rs", "(", ")"), ("a.js", "[", "]"), ("a.py", "(", ")")] {
        let text = format!("x = {}1{};\n", open.repeat(20_000), close.repeat(20_000));
        assert!(read(path, &text).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_can_be_read(
        ending in prop::sample::select(vec!["rs", "py", "ts", "tsx", "js", "go", "java", "c", "cpp", "h", "rb", "cs"]),
        text in r#"(fn |def |func |class |const |[a-zA-Z_]{1,6}|[(){}\[\];:,.=<>"'`#\\@&*|-]|[0-9]|\n| |ß){0,60}"#,
    ) {
        let path = format!("a.{ending}");
        let first = read(&path, &text).expect("the language is known");
        let second = read(&path, &text);
        prop_assert_eq!(Some(&first), second.as_ref());
        let last = u32::try_from(text.lines().count()).expect("few lines") + 1;
        for definition in &first.definitions {
            prop_assert!(definition.signature.0 <= definition.line);
            prop_assert!(definition.line <= definition.signature.1);
            prop_assert!(definition.end <= last);
        }
    }
}
