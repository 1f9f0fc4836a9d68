//! Options of a task: the one place that declares them.
//!
//! A line of the table gives an option its name, type, limits, default and description. Validation,
//! the request fingerprint, the stored row, the view, the OpenAPI document and the flags of
//! `membreak eval` all follow from it. A new option goes into the block `document`: it is stored in
//! the JSON column `task.options` and needs no migration.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use domain::vocabulary::{Dimension, Trigger};
use entity::task;
use evaluation::question_bank::QuestionBank;
use sea_orm::{ActiveValue, DbErr, DerivePartialModel};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::http::error::{ApiError, Problem};
use crate::http::validation::FieldReader;

/// Largest number of entries in the list of dimensions. Repeated entries count once.
const MAX_DIMENSIONS: usize = 100;

/// Declares the options. `columns` and `hidden` are columns of the table `task`; views show those of
/// `columns`. `document` options share the column `options`, and views show them.
macro_rules! task_options {
    (
        columns { $($(#[doc = $c_help:literal])+ $c_name:ident: $c_type:ty = $c_spec:expr;)* }
        hidden { $($(#[doc = $h_help:literal])+ $h_name:ident: $h_type:ty = $h_spec:expr;)* }
        document { $($(#[doc = $d_help:literal])+ $d_name:ident: $d_type:ty = $d_spec:expr;)* }
    ) => {
        /// The options of one task, validated.
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        pub struct TaskOptions {
            $($(#[doc = $c_help])+ pub $c_name: $c_type,)*
            $($(#[doc = $h_help])+ pub $h_name: $h_type,)*
            $($(#[doc = $d_help])+ pub $d_name: $d_type,)*
        }

        /// All options, in the order of the request fingerprint.
        pub const OPTIONS: &[TaskOption] = &[
            $(TaskOption {
                name: stringify!($c_name), help: concat!($($c_help, "\n"),+), ..$c_spec
            },)*
            $(TaskOption {
                name: stringify!($h_name), help: concat!($($h_help, "\n"),+), shown: false, ..$h_spec
            },)*
            $(TaskOption {
                name: stringify!($d_name), help: concat!($($d_help, "\n"),+), ..$d_spec
            },)*
        ];

        /// Names of the options in the column `options`.
        const DOCUMENT: &[&str] = &[$(stringify!($d_name)),*];

        impl TaskOptions {
            /// Writes the options to a new row.
            ///
            /// # Errors
            /// Returns an error if a number is too large for its column.
            pub(crate) fn store(self, row: &mut task::ActiveModel) -> Result<(), DbErr> {
                $(row.$c_name = ActiveValue::Set(self.$c_name.into_column()?);)*
                $(row.$h_name = ActiveValue::Set(self.$h_name.into_column()?);)*
                let document: &[(&str, Value)] = &[
                    $((stringify!($d_name), json!(self.$d_name)),)*
                ];
                let given = document.iter().filter(|(_, value)| !value.is_null());
                let given: Map<String, Value> = given
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect();
                row.options = ActiveValue::Set((!given.is_empty()).then_some(Value::Object(given)));
                Ok(())
            }
        }

        /// The options of a stored task, as clients see them.
        #[derive(Serialize, DerivePartialModel)]
        #[sea_orm(entity = "task::Entity")]
        pub(crate) struct OptionsView {
            $($c_name: <$c_type as Stored>::Column,)*
            #[serde(flatten, serialize_with = "serialize_document")]
            options: Option<Value>,
        }

        impl From<&task::Model> for OptionsView {
            fn from(task: &task::Model) -> Self {
                Self {
                    $($c_name: task.$c_name.clone(),)*
                    options: task.options.clone(),
                }
            }
        }
    };
}

task_options! {
    columns {
        /// Dimensions, comma-separated: AR (accurate retrieval), TTL (test-time learning), LRU
        /// (long-range understanding), SF (selective forgetting).
        rubric: Vec<Dimension> = TaskOption {
            default: DefaultValue::Json(r#"["AR","TTL","LRU","SF"]"#), ..TaskOption::of(Kind::Dimensions)
        };
        /// Runs per agent.
        trials: u32 = TaskOption {
            default: DefaultValue::Json("1"), flag_default: Some("3"), common: true,
            ..TaskOption::of(Kind::Integer(Width::Bits32, 1, 100))
        };
        /// Maximum number of changed files. By default the setting `MAX_FILES_PER_TASK`.
        max_files: u32 = TaskOption {
            default: DefaultValue::Setting, ..TaskOption::of(Kind::Integer(Width::Bits32, 1, 1000))
        };
        /// Seed of probes, teaching and all random draws. The same seed asks the same questions.
        seed: i64 = TaskOption {
            default: DefaultValue::Json("1"), common: true,
            ..TaskOption::of(Kind::Integer(Width::Bits64, i64::MIN, i64::MAX))
        };
        /// Trigger of the break (compaction): `auto`, `manual` or `auto_then_manual`.
        trigger: Trigger = TaskOption {
            default: DefaultValue::Json(r#""auto_then_manual""#), ..TaskOption::of(Kind::Trigger)
        };
        /// Score that a dimension must reach to pass.
        pass_mark: f64 = TaskOption {
            default: DefaultValue::Json("0.5"), ..TaskOption::of(Kind::Number(0.0, 1.0))
        };
        /// Context size in tokens at which the agent should compact. By default it follows from the
        /// material.
        target_context_tokens: Option<i64> = TaskOption {
            flag: "context-tokens", value_name: "TOKENS",
            ..TaskOption::of(Kind::Integer(Width::Bits64, 1000, 10_000_000))
        };
        /// Empty the workspace before the compaction, so that no file can be read again. By default
        /// true if the agent's own command triggers the break.
        seal_before_break: Option<bool> = TaskOption::of(Kind::Flag);
        /// Compactions per run. Each is measured, which gives a forgetting curve.
        breaks: u32 = TaskOption {
            default: DefaultValue::Json("1"), ..TaskOption::of(Kind::Integer(Width::Bits32, 1, 10))
        };
        /// Closed probes per prompt, the same in all arms. More probes cost less but change the score.
        probes_per_prompt: u32 = TaskOption {
            default: DefaultValue::Json("1"), ..TaskOption::of(Kind::Integer(Width::Bits32, 1, 20))
        };
        /// Also ask about purpose, risks and rollback of the pull request. Needs model judges and is
        /// not part of any score.
        open_questions: bool = TaskOption {
            default: DefaultValue::Json("true"), ..TaskOption::of(Kind::Flag)
        };
        /// Stop cleanly when the known cost of the runs reaches this amount in US dollars.
        max_cost_usd: Option<f64> = TaskOption {
            value_name: "USD", ..TaskOption::of(Kind::Number(0.0, 1_000_000.0))
        };
    }
    hidden {
        /// Probes to use instead of generated ones: a question bank of the same commits, from
        /// `--out` or from `GET /api/v1/tasks/{task_id}/question-bank`. Each probe is verified before
        /// use.
        question_bank: Option<String> = TaskOption {
            value_name: "FILE", ..TaskOption::of(Kind::QuestionBank)
        };
    }
    document {}
}

/// Declaration of one option.
#[derive(Clone, Copy, Debug)]
pub struct TaskOption {
    /// Name of the field in requests, views and rows.
    pub name: &'static str,
    help: &'static str,
    kind: Kind,
    default: DefaultValue,
    /// Name of the command-line flag. By default the name of the option.
    flag: &'static str,
    value_name: &'static str,
    /// Default on the command line, if it differs.
    flag_default: Option<&'static str>,
    /// Whether other commands than `eval` have the flag, too.
    common: bool,
    /// Whether views show the option.
    shown: bool,
}

/// Type and limits of an option.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Integer(Width, i64, i64),
    Number(f64, f64),
    Flag,
    Trigger,
    Dimensions,
    QuestionBank,
    /// Text of one line with a maximum number of characters.
    #[expect(dead_code, reason = "for options of the block `document`")]
    Text(usize),
}

/// Size of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// Place of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Request,
    View,
}

/// Value of an option that a request does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DefaultValue {
    /// A value, as JSON text.
    Json(&'static str),
    /// The value of a setting.
    Setting,
    /// No value: null is stored.
    Null,
}

impl TaskOption {
    const fn of(kind: Kind) -> Self {
        Self {
            name: "",
            help: "",
            kind,
            default: DefaultValue::Null,
            flag: "",
            value_name: "",
            flag_default: None,
            common: false,
            shown: true,
        }
    }

    /// Returns the default value, if it is the same in every installation.
    pub(crate) fn default_value(&self) -> Option<Value> {
        match self.default {
            DefaultValue::Json(text) => {
                Some(serde_json::from_str(text).expect("the table holds valid JSON"))
            }
            DefaultValue::Setting | DefaultValue::Null => None,
        }
    }

    /// Reads the option from a request. Invalid values are reported to `fields`.
    fn read(&self, fields: &mut FieldReader) -> Option<Value> {
        match self.kind {
            Kind::Integer(_, least, most) => {
                fields.integer(self.name, least, most).map(Value::from)
            }
            Kind::Number(least, most) => fields.number(self.name, least, most).map(Value::from),
            Kind::Flag => fields.flag(self.name).map(Value::from),
            Kind::Trigger => {
                let trigger: Option<Trigger> = fields.word(self.name, &trigger_words());
                trigger.map(|trigger| json!(trigger))
            }
            Kind::Dimensions => read_dimensions(fields, self.name),
            Kind::QuestionBank => read_question_bank(fields, self.name),
            Kind::Text(most) => fields.short_text(self.name, most).map(Value::from),
        }
    }

    /// Returns the schema of the option: in a request it may be null, in a view only if the column is.
    fn schema(&self, place: Place) -> RefOr<Schema> {
        let mut schema = match self.kind {
            Kind::Integer(width, least, most) => {
                let format = match width {
                    Width::Bits32 => "int32",
                    Width::Bits64 => "int64",
                };
                if (least, most) == (i64::MIN, i64::MAX) {
                    json!({ "type": "integer", "format": format })
                } else {
                    json!({ "type": "integer", "format": format, "minimum": least, "maximum": most })
                }
            }
            Kind::Number(least, most) => {
                json!({ "type": "number", "format": "double", "minimum": least, "maximum": most })
            }
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Trigger | Kind::QuestionBank => json!({ "type": "string" }),
            Kind::Dimensions => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::Text(most) => json!({ "type": "string", "maxLength": most }),
        };
        schema["description"] = json!(self.help.trim());
        match place {
            Place::Request => {
                if let Some(default) = self.default_value() {
                    schema["default"] = default;
                }
                schema["type"] = json!([schema["type"], "null"]);
            }
            Place::View if self.default == DefaultValue::Null => {
                schema["type"] = json!([schema["type"], "null"]);
            }
            Place::View => {}
        }
        serde_json::from_value(schema).expect("the schema is valid")
    }

    fn flag(&self) -> String {
        if self.flag.is_empty() {
            self.name.replace('_', "-")
        } else {
            self.flag.to_owned()
        }
    }

    /// Returns the command-line flag.
    fn argument(&self) -> Arg {
        let argument = Arg::new(self.name)
            .long(self.flag())
            .help(self.help.trim().to_owned());
        let argument = match self.kind {
            Kind::Integer(_, least, most) => argument
                .value_parser(clap::value_parser!(i64).range(least..=most))
                .allow_negative_numbers(least < 0),
            Kind::Number(..) => argument.value_parser(clap::value_parser!(f64)),
            Kind::Flag => argument
                .value_parser(clap::value_parser!(bool))
                .value_name("BOOL"),
            Kind::Trigger => argument.value_parser(PossibleValuesParser::new(trigger_words())),
            Kind::Dimensions => argument
                .value_parser(PossibleValuesParser::new(dimension_words()))
                .value_delimiter(',')
                .action(ArgAction::Append),
            Kind::QuestionBank | Kind::Text(_) => {
                argument.value_parser(clap::value_parser!(String))
            }
        };
        let argument = if self.value_name.is_empty() {
            argument
        } else {
            argument.value_name(self.value_name)
        };
        match (self.flag_default, self.default_value()) {
            (Some(default), _) => argument.default_value(default),
            (None, Some(Value::Array(items))) => {
                let items = items.iter().filter_map(Value::as_str);
                argument.default_values(items.map(str::to_owned).collect::<Vec<_>>())
            }
            (None, Some(Value::String(text))) => argument.default_value(text),
            (None, Some(value)) => argument.default_value(value.to_string()),
            (None, None) => argument,
        }
    }

    /// Returns the value of the command-line flag, as a request gives it.
    fn argument_value(&self, matches: &ArgMatches) -> Option<Value> {
        match self.kind {
            Kind::Integer(..) => matches.get_one::<i64>(self.name).map(|value| json!(value)),
            Kind::Number(..) => matches.get_one::<f64>(self.name).map(|value| json!(value)),
            Kind::Flag => matches.get_one::<bool>(self.name).map(|value| json!(value)),
            Kind::Trigger | Kind::QuestionBank | Kind::Text(_) => matches
                .get_one::<String>(self.name)
                .map(|value| json!(value)),
            Kind::Dimensions => {
                let values = matches.get_many::<String>(self.name)?;
                Some(json!(values.collect::<Vec<_>>()))
            }
        }
    }
}

/// Reads the options of a request step by step, so that other fields can be read in between.
#[derive(Debug, std::default::Default)]
pub(crate) struct OptionsReader(Map<String, Value>);

impl OptionsReader {
    /// Reads one option and returns its value or its default.
    pub(crate) fn read(&mut self, fields: &mut FieldReader, name: &str) -> Option<Value> {
        if let Some(option) = OPTIONS.iter().find(|option| option.name == name)
            && !self.0.contains_key(name)
        {
            let value = option.read(fields).or_else(|| option.default_value());
            self.0.insert(name.to_owned(), value.unwrap_or_default());
        }
        self.0.get(name).cloned()
    }

    /// Reads the remaining options.
    pub(crate) fn read_rest(&mut self, fields: &mut FieldReader) {
        for option in OPTIONS {
            self.read(fields, option.name);
        }
    }

    /// Returns the options after all fields were valid. `max_files` is the default of that option.
    ///
    /// # Errors
    /// Returns an internal error if the table of options contradicts itself.
    pub(crate) fn finish(mut self, max_files: u32) -> Result<TaskOptions, ApiError> {
        let value = self.0.entry("max_files").or_insert(Value::Null);
        if value.is_null() {
            *value = json!(max_files);
        }
        serde_json::from_value(Value::Object(self.0))
            .map_err(ApiError::internal("reading the options of a task"))
    }
}

fn read_dimensions(fields: &mut FieldReader, name: &str) -> Option<Value> {
    let words = fields.texts(name)?;
    if words.len() > MAX_DIMENSIONS {
        let loc = fields.loc(name);
        let msg = format!("List should have at most {MAX_DIMENSIONS} items after validation");
        fields.add_problem(Problem {
            ctx: Some(json!({ "max_length": MAX_DIMENSIONS })),
            ..Problem::new("too_long", loc, msg, json!(words.len()))
        });
        return None;
    }
    let mut dimensions: Vec<Dimension> = Vec::new();
    for (position, word) in words.iter().enumerate() {
        match word.parse() {
            Ok(dimension) if dimensions.contains(&dimension) => {}
            Ok(dimension) => dimensions.push(dimension),
            Err(_) => {
                let mut loc = fields.loc(name);
                loc.push(json!(position));
                let known = dimension_words();
                fields.add_problem(Problem::not_one_of(loc, &known, json!(word)));
            }
        }
    }
    if words.is_empty() {
        let loc = fields.loc(name);
        let msg = "List should have at least 1 item after validation, not 0";
        fields.add_problem(Problem {
            ctx: Some(json!({ "min_length": 1 })),
            ..Problem::new("too_short", loc, msg, json!([]))
        });
    }
    Some(json!(dimensions))
}

/// Reads a question bank. The worker verifies its probes against the commits.
fn read_question_bank(fields: &mut FieldReader, name: &str) -> Option<Value> {
    let text = fields.multiline_text(name)?;
    match QuestionBank::read(&text) {
        Ok(_) => Some(text.into()),
        Err(error) => {
            let loc = fields.loc(name);
            // The message names the line. The text may be long and is not repeated.
            fields.add_problem(Problem::new(
                "question_bank",
                loc,
                error.to_string(),
                Value::Null,
            ));
            None
        }
    }
}

fn trigger_words() -> Vec<&'static str> {
    Trigger::ALL
        .iter()
        .map(|trigger| trigger.as_str())
        .collect()
}

fn dimension_words() -> Vec<&'static str> {
    Dimension::ALL
        .iter()
        .map(|dimension| dimension.as_str())
        .collect()
}

/// Type of the column of an option.
trait Stored {
    type Column;

    fn into_column(self) -> Result<Self::Column, DbErr>;
}

impl Stored for u32 {
    type Column = i32;

    fn into_column(self) -> Result<i32, DbErr> {
        i32::try_from(self).map_err(|_| DbErr::Type(format!("{self} is too large for its column")))
    }
}

impl Stored for Vec<Dimension> {
    type Column = Value;

    fn into_column(self) -> Result<Value, DbErr> {
        Ok(json!(self))
    }
}

/// Types that are stored as they are.
macro_rules! stored_unchanged {
    ($($type:ty),+) => {
        $(impl Stored for $type {
            type Column = Self;

            fn into_column(self) -> Result<Self, DbErr> {
                Ok(self)
            }
        })+
    };
}

stored_unchanged!(
    i64,
    f64,
    bool,
    Trigger,
    Option<i64>,
    Option<f64>,
    Option<bool>,
    Option<String>
);

/// Serializes the options of the column `options`. An option that the task does not have is null.
fn serialize_document<S: Serializer>(
    options: &Option<Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let value = |name: &str| options.as_ref().and_then(|options| options.get(name));
    serializer.collect_map(DOCUMENT.iter().map(|name| (name, value(name))))
}

/// Adds the options to the schemas of requests and views in the OpenAPI document.
pub(crate) fn describe(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for (name, place) in [("CreateTask", Place::Request), ("TaskView", Place::View)] {
        let Some(RefOr::T(Schema::Object(object))) = schemas.get_mut(name) else {
            continue;
        };
        for option in OPTIONS {
            if place == Place::View && !option.shown {
                continue;
            }
            object
                .properties
                .insert(option.name.to_owned(), option.schema(place));
            if place == Place::View && option.default != DefaultValue::Null {
                object.required.push(option.name.to_owned());
            }
        }
    }
}

/// Command-line flags of a group of options. The value is the part of the request that they give.
#[derive(Clone, Debug)]
pub struct OptionFlags<const COMMON: bool>(pub Map<String, Value>);

/// Flags of all options that `membreak eval` alone has.
pub type EvaluationFlags = OptionFlags<false>;
/// Flags of the options that several commands have.
pub type CommonFlags = OptionFlags<true>;

impl<const COMMON: bool> OptionFlags<COMMON> {
    fn options() -> impl Iterator<Item = &'static TaskOption> {
        OPTIONS.iter().filter(|option| option.common == COMMON)
    }
}

impl<const COMMON: bool> FromArgMatches for OptionFlags<COMMON> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Self::options().filter_map(|option| {
            let value = option.argument_value(matches)?;
            Some((option.name.to_owned(), value))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(Self::from_arg_matches(matches)?.0);
        Ok(())
    }
}

impl<const COMMON: bool> Args for OptionFlags<COMMON> {
    fn augment_args(command: Command) -> Command {
        Self::options().fold(command, |command, option| command.arg(option.argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Evaluation {
        #[command(flatten)]
        options: EvaluationFlags,
        #[command(flatten)]
        common: CommonFlags,
    }

    fn parse(arguments: &[&str]) -> Result<Map<String, Value>, clap::Error> {
        let arguments = std::iter::once(&"eval").chain(arguments);
        let parsed = Evaluation::try_parse_from(arguments)?;
        let mut request = parsed.options.0;
        request.extend(parsed.common.0);
        Ok(request)
    }

    #[test]
    fn flags_are_fields_of_a_request() {
        let request = parse(&[
            "--context-tokens",
            "5000",
            "--rubric",
            "AR,SF",
            "--seed",
            "-3",
        ]);
        let request = request.unwrap();
        assert_eq!(request["target_context_tokens"], 5000);
        assert_eq!(request["rubric"], json!(["AR", "SF"]));
        assert_eq!(request["seed"], -3);
        assert_eq!(request["trials"], 3);
        assert_eq!(request["open_questions"], true);
        assert!(!request.contains_key("max_files"));
    }

    #[test]
    fn an_invalid_flag_is_refused() {
        for arguments in [["--breaks", "11"], ["--rubric", "XX"], ["--trials", "0"]] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn every_default_is_valid() {
        let mut fields = FieldReader::empty();
        let mut options = OptionsReader::default();
        options.read_rest(&mut fields);
        let options = options.finish(50).unwrap();
        assert_eq!((options.trials, options.max_files), (1, 50));
        assert_eq!(options.rubric, Dimension::ALL);
        assert_eq!(options.target_context_tokens, None);
    }
}
